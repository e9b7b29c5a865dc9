"""Jobs over HTTP: reading, cancelling, what they did, and the policies that a trainer publishes."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.jobs import Progress
from tests.support.control import Control, check_problem, control_app, write_adapter

UNKNOWN_JOB = "job_" + "0" * 20


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home")) as made:
        yield made


def report(control: Control, job_id: str, *, steps: range, attempt: int = 1, **metrics: float) -> None:
    for step in steps:
        found = {"reward": step / 10, **metrics}
        control.services.jobs.save_progress(job_id, attempt, Progress(step=step, total=100, metrics=found))


def test_jobs_are_listed_newest_first_in_pages_and_by_status_and_kind(control: Control) -> None:
    made = [control.job(name=f"listed-{number}").id for number in range(3)]
    control.services.jobs.cancel(made[1])
    first = control.http.get("/v1/jobs?limit=2").json()
    assert [job["id"] for job in first["data"]] == [made[2], made[1]]
    assert (first["has_more"], first["last_id"]) == (True, made[1])
    second = control.http.get(f"/v1/jobs?limit=2&after={made[1]}").json()
    assert second["data"][0]["id"] == made[0]
    cancelled = control.http.get("/v1/jobs?status=cancelled&kind=rl").json()["data"]
    assert made[1] in [job["id"] for job in cancelled]
    assert {job["status"] for job in cancelled} == {"cancelled"}
    assert control.http.get("/v1/jobs?kind=warmup").json()["data"] == []


def test_a_waiting_job_is_paused_resumed_and_cancelled_each_repeatable(control: Control) -> None:
    job = control.job().id
    for call, status in [("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")]:
        for _ in range(2):
            answer = control.http.post(f"/v1/jobs/{job}/{call}")
            assert (answer.status_code, answer.json()["status"]) == (200, status)


@pytest.mark.parametrize("call", ["pause", "resume"])
def test_an_ended_job_says_its_status_when_it_cannot_be_moved(control: Control, call: str) -> None:
    job = control.job().id
    control.services.jobs.cancel(job)
    body = check_problem(control.http.post(f"/v1/jobs/{job}/{call}"), 409, "job_state")
    assert body["detail"].startswith(f"Job {job} is cancelled")


def test_a_running_job_is_asked_to_pause_and_then_to_end(control: Control) -> None:
    job = control.running_job()
    for call, asked in (("pause", True), ("pause", True), ("resume", False)):
        answer = control.http.post(f"/v1/jobs/{job.id}/{call}").json()
        assert (answer["status"], answer["pause_requested"]) == ("running", asked)
    answer = control.http.post(f"/v1/jobs/{job.id}/cancel").json()
    assert (answer["status"], answer["cancel_requested"]) == ("running", True)
    check_problem(control.http.post(f"/v1/jobs/{job.id}/pause"), 409, "job_state")
    control.services.jobs.finish(job.id, job.attempt, "cancelled")


def test_events_are_listed_oldest_first_and_go_on_after_a_number(control: Control) -> None:
    job = control.running_job()
    report(control, job.id, steps=range(1, 4))
    first = control.http.get(f"/v1/jobs/{job.id}/events?limit=2").json()
    assert [(event["seq"], event["type"]) for event in first["data"]] == [(1, "queued"), (2, "started")]
    assert (first["has_more"], first["last_id"]) == (True, "2")
    rest = control.http.get(f"/v1/jobs/{job.id}/events?after=2").json()
    assert [event["data"]["step"] for event in rest["data"]] == [1, 2, 3]
    assert (rest["has_more"], rest["last_id"]) == (False, "5")
    assert control.http.get(f"/v1/jobs/{job.id}/events?after=5").json()["data"] == []


def test_series_have_one_entry_a_step_and_null_where_a_step_has_none(control: Control) -> None:
    job = control.running_job()
    report(control, job.id, steps=range(1, 3))
    report(control, job.id, steps=range(3, 4), loss=0.5)
    found = control.http.get(f"/v1/jobs/{job.id}/metrics").json()
    assert found["steps"] == [1, 2, 3]
    assert found["series"] == {"reward": [0.1, 0.2, 0.3], "loss": [None, None, 0.5]}
    assert control.http.get(f"/v1/jobs/{job.id}/metrics?after_step=2").json()["steps"] == [3]


def test_a_step_done_again_by_a_later_attempt_counts_once(control: Control) -> None:
    job = control.running_job()
    report(control, job.id, steps=range(1, 3), loss=1.0)
    control.services.jobs.requeue(job.id, 1, "a test")
    assert control.services.jobs.claim(queue="train", worker="test") is not None
    report(control, job.id, steps=range(2, 4), attempt=2, loss=2.0)
    found = control.http.get(f"/v1/jobs/{job.id}/metrics").json()
    assert (found["steps"], found["series"]["loss"]) == ([1, 2, 3], [1.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("max_points", "steps"), [(1, [10]), (3, [2, 6, 10]), (9, [2, 4, 6, 8, 10]), (10, [*range(1, 11)])]
)
def test_series_are_thinned_evenly_and_keep_the_last_step(control: Control, max_points: int, steps: list[int]) -> None:
    job = control.running_job()
    report(control, job.id, steps=range(1, 11))
    found = control.http.get(f"/v1/jobs/{job.id}/metrics?max_points={max_points}").json()
    assert found["steps"] == steps


def test_checkpoints_are_listed_newest_first_without_their_paths(control: Control) -> None:
    job = control.running_job()
    folder = control.services.artifacts.attempt_dir(job.id, 1) / "checkpoints"
    for step in (1, 5, 10):
        (folder / f"step-{step}").mkdir(parents=True)
        data = {"step": step, "manifest_sha256": "ab" * 32, "path": "a-folder"}
        control.services.jobs.append_event(job.id, 1, "checkpoint", data)
    (folder / "step-1").rmdir()  # an older one, which has given way
    found = control.http.get(f"/v1/jobs/{job.id}/checkpoints").json()["data"]
    assert [(entry["step"], entry["attempt"], entry["id"]) for entry in found] == [
        (10, 1, f"{job.id}.1.10"),
        (5, 1, f"{job.id}.1.5"),
    ]
    assert "path" not in found[0]


def test_the_log_is_the_end_of_the_last_attempts_in_whole_lines(control: Control) -> None:
    job = control.running_job()
    assert control.http.get(f"/v1/jobs/{job.id}/logs").text == ""
    folder = control.services.artifacts.make_dir(control.services.artifacts.attempt_dir(job.id, 1))
    (folder / "trainer.log").write_bytes("first\nsecond \u00e9\n".encode() + b"third \xff\n")
    answer = control.http.get(f"/v1/jobs/{job.id}/logs")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == "first\nsecond \u00e9\nthird \ufffd\n"
    assert control.http.get(f"/v1/jobs/{job.id}/logs?max_bytes=12").text == "third \ufffd\n"


def test_a_log_that_is_a_link_is_not_followed(control: Control, tmp_path: Path) -> None:
    job = control.running_job()
    (tmp_path / "secret").write_text("secret")
    folder = control.services.artifacts.make_dir(control.services.artifacts.attempt_dir(job.id, 1))
    (folder / "trainer.log").symlink_to(tmp_path / "secret")
    assert control.http.get(f"/v1/jobs/{job.id}/logs").text == ""


def lay_policy(control: Control, job_id: str, *, step: int, attempt: int = 1) -> str:
    return adapter_sha256(write_adapter(control.services.artifacts.rollout_dir(job_id, attempt, step), seed=step))


def publish(control: Control, job_id: str, **fields: Any) -> Any:
    return control.http.post(f"/v1/jobs/{job_id}/rollouts", json={"attempt": 1, "step": 0, **fields})


def test_a_published_policy_is_callable_by_its_exact_name_and_in_no_list(control: Control) -> None:
    job = control.running_job()
    answer = publish(control, job.id, step=3, sha256=lay_policy(control, job.id, step=3))
    assert (answer.status_code, answer.json()) == (200, {"version": f"{job.id}.1@3"})
    assert control.services.registry.resolve("teacher", f"{job.id}.1@3").adapter is not None
    assert job.id not in control.http.get("/v1/models").text
    assert job.id not in control.http.get("/v1/teachers").text


def test_a_policy_that_is_not_as_announced_is_refused(control: Control) -> None:
    job = control.running_job()
    lay_policy(control, job.id, step=0)
    check_problem(publish(control, job.id, sha256="0" * 64), 422, "invalid_adapter", "/sha256")


def test_a_publication_that_is_repeated_with_other_files_is_a_conflict(control: Control) -> None:
    job = control.running_job()
    sha256 = lay_policy(control, job.id, step=0)
    for _ in range(2):
        assert publish(control, job.id, sha256=sha256).json() == {"version": f"{job.id}.1@0"}
    other = adapter_sha256(write_adapter(control.services.artifacts.rollout_dir(job.id, 1, 0), seed=7))
    check_problem(publish(control, job.id, sha256=other), 409, "conflict", "/sha256")
    events = control.http.get(f"/v1/jobs/{job.id}/events").json()["data"]
    assert [event["type"] for event in events].count("published") == 1


def test_a_policy_that_is_not_there_whole_is_refused(control: Control) -> None:
    job = control.running_job()
    sha256 = lay_policy(control, job.id, step=0)
    answer = publish(control, job.id, step=1, sha256=sha256)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_adapter")
    assert f"jobs/{job.id}/attempt-1/rollouts/1 " in answer.json()["detail"]
    assert str(control.services.settings.home) not in answer.text
    (control.services.artifacts.rollout_dir(job.id, 1, 0) / "adapter_config.json").unlink()
    answer = publish(control, job.id, sha256=sha256)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_adapter")


def test_a_policy_whose_files_have_gone_is_refused_without_a_path_of_the_server(control: Control) -> None:
    job = control.running_job()
    version = publish(control, job.id, sha256=lay_policy(control, job.id, step=0)).json()["version"]
    shutil.rmtree(control.services.artifacts.rollout_dir(job.id, 1, 0))
    answer = control.http.post("/v1/explain", json={"question": "1 + 1?", "solution": "2", "teacher": version})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_adapter")
    assert f"at jobs/{job.id}/attempt-1/rollouts/0 " in answer.json()["detail"]
    assert str(control.services.settings.home) not in answer.text


def test_a_policy_that_is_a_link_is_refused(control: Control, tmp_path: Path) -> None:
    job = control.running_job()
    sha256 = adapter_sha256(write_adapter(tmp_path / "elsewhere"))
    folder = control.services.artifacts.rollout_dir(job.id, 1, 0)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(tmp_path / "elsewhere")
    answer = publish(control, job.id, sha256=sha256)
    assert answer.status_code == 422, answer.text


def test_an_attempt_that_no_longer_owns_the_job_cannot_publish(control: Control) -> None:
    job = control.running_job()
    sha256 = lay_policy(control, job.id, step=0, attempt=2)
    check_problem(publish(control, job.id, attempt=2, sha256=sha256), 409, "stale_attempt")
    control.services.jobs.finish(job.id, 1, "cancelled")
    check_problem(publish(control, job.id, sha256=lay_policy(control, job.id, step=0)), 409, "stale_attempt")


def test_numbers_that_no_database_holds_are_no_server_fault(control: Control) -> None:
    job = control.running_job()
    for fields in ({"attempt": 2**70}, {"step": 2**70}):
        answer = publish(control, job.id, sha256="0" * 64, **fields)
        assert 400 <= answer.status_code < 500, answer.text


CALLS = [
    ("GET", ""),
    ("POST", "/cancel"),
    ("POST", "/pause"),
    ("POST", "/resume"),
    ("GET", "/events"),
    ("GET", "/metrics"),
    ("GET", "/logs"),
    ("GET", "/checkpoints"),
]


@pytest.mark.parametrize("job_id", [UNKNOWN_JOB, "x", "job_", "job_%0A", "ds_" + "0" * 20, "job_" + "0" * 20 + "%0A"])
@pytest.mark.parametrize(("method", "rest"), CALLS)
def test_a_job_that_is_not_there_is_a_404(control: Control, method: str, rest: str, job_id: str) -> None:
    answer = control.http.request(method, f"/v1/jobs/{job_id}{rest}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
