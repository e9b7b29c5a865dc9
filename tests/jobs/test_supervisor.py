import errno
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from rlt_core.artifacts import weights_sha256
from rlt_core.errors import ConfigurationError, StorageUnavailableError
from rlt_core.job_errors import remedy_of
from rlt_core.schemas.base import Role, now_utc
from rlt_core.schemas.jobs import QUEUE, TERMINAL, Job
from rlt_core.schemas.rollouts import RolloutPublishRequest
from rlt_core.schemas.trainer import EXIT_DISK_FULL, EXIT_LEASE_LOST, TrainerJob
from rlt_service.jobs.heartbeat import Heartbeat
from rlt_service.jobs.supervisor import Drain
from rlt_service.jobs.trainer_process import TrainerProcess
from rlt_service.jobs.worker import work
from rlt_service.store.jobs import JobStore, LeaseState
from rlt_service.store.registry import Candidate
from rlt_train.lifeline import LOOKS_A_LEASE
from tests.jobs.fake_bell import FakeBell
from tests.jobs.site import Site, gone
from tests.support.waiting import wait_until


def test_a_job_succeeds_with_its_version_and_events_in_order(site: Site) -> None:
    job = site.submit("ok")
    done = site.run_one()
    assert (done.status, done.attempt, done.progress.step) == ("succeeded", 1, 2)
    assert done.result is not None
    assert (done.result.teacher, done.result.promotion) == ("algebra@1", None)
    assert (done.result.cost["total_s"], done.result.cost["trained_tokens"]) == (0.1, 0.0)
    types = ["queued", "started", "log", "progress", "progress", "result", "succeeded"]
    assert site.event_types(job.id) == types
    made = site.registry.get_version("algebra@1")
    assert (made.job, made.base_model, made.dataset) == (job.id, "tiny-model", site.dataset)


def test_events_say_nothing_of_where_files_lie(site: Site) -> None:
    job = site.submit_rl("gate")
    site.run_one()
    text = json.dumps([event.data for event in site.jobs.events(job.id)])
    assert str(site.settings.home) not in text


def test_a_warm_up_of_a_student_makes_a_student(site: Site) -> None:
    site.submit("ok", role="student")
    done = site.run_one()
    assert done.result is not None
    assert (done.result.teacher, done.result.student) == (None, "algebra@1")


def test_a_warm_up_of_all_weights_makes_a_version_with_an_engine_of_its_own(site: Site) -> None:
    site.submit("ok", lora=None)
    assert site.run_one().status == "succeeded"
    made = site.registry.get_version("algebra@1")
    assert (made.weights, made.lora_rank, made.adapter_sha256) == ("full", None, None)
    assert site.registry.resolve("teacher", "algebra@1").full is not None


def test_a_whole_model_that_is_not_what_was_announced_ends_the_job(site: Site) -> None:
    job = site.submit("changed", lora=None)
    assert site.run_one().status == "failed"
    error = site.jobs.get(job.id).error
    assert error is not None
    assert (error.code, "announced was" in error.message) == ("invalid_weights", True)


def test_a_trainer_that_crashes_three_times_fails_the_job_with_its_last_words(site: Site) -> None:
    job = site.submit("crash")
    statuses = [site.run_one().status for _ in range(3)]
    assert statuses == ["queued", "queued", "failed"]
    error = site.jobs.get(job.id).error
    assert error is not None
    assert (error.code, error.retryable) == ("worker_lost", True)
    assert "signal 9" in error.message
    assert error.log_tail.endswith("about to crash in attempt 3")
    assert site.event_types(job.id).count("requeued") == 2


def test_a_trainer_that_the_kernel_ended_for_want_of_memory_is_named_so(site: Site) -> None:
    job = site.submit("crash")
    for _ in range(3):
        counts = iter([7, 8])
        site.run_one(replace(site.supervisor(), memory_kills=lambda: next(counts)))  # noqa: B023 - run before the next
    error = site.jobs.get(job.id).error
    assert error is not None
    assert (error.code, error.remedy) == ("out_of_memory", remedy_of("out_of_memory"))
    assert error.log_tail.endswith("about to crash in attempt 3")


def test_a_metric_that_is_no_number_is_left_out_with_a_warning_and_ends_no_job(site: Site) -> None:
    job = site.submit("odd-metrics")
    done = site.run_one()
    assert (done.status, done.progress.metrics) == ("succeeded", {"loss": 0.25})
    shown = [event.data["metrics"] for event in site.jobs.events(job.id, types=("progress",))]
    assert shown == [{"loss": 1.0}, {"kl": 0.1}, {"kl": 0.1}, {"loss": 0.25}]
    warnings = [event.data["message"] for event in site.jobs.events(job.id, types=("log",))]
    assert warnings == ["not finite from step 2 on, and left out: loss, grad_norm", "training"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_trainer_that_lives_and_says_nothing_is_ended_as_a_crash_that_says_what_to_do(site: Site) -> None:
    job = site.submit("mute")
    impatient = site.settings.model_copy(update={"trainer_silence_s": 2.0, "max_crashes": 1})
    jobs = JobStore(site.database, impatient.job_rules)
    ended = site.run_one(replace(site.supervisor(), settings=impatient, jobs=jobs))
    assert ended.error is not None
    assert (ended.status, ended.error.code, ended.error.retryable) == ("failed", "trainer_hung", True)
    assert ended.error.remedy == remedy_of("trainer_hung")
    assert ended.error.log_tail == "stub trainer: mute"
    assert gone(site.trainer_pids(job.id, 1))


@pytest.mark.parametrize("name", ["chatty", "mute-at-its-end"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_trainer_that_speaks_now_and_then_or_has_said_its_result_loses_nothing(site: Site, name: str) -> None:
    job = site.submit(name)
    impatient = site.settings.model_copy(update={"trainer_silence_s": 2.0})
    done = site.run_one(replace(site.supervisor(), settings=impatient))
    assert (done.status, done.attempt) == ("succeeded", 1)
    assert gone(site.trainer_pids(job.id, 1))


def test_a_trainer_gives_up_before_any_watcher_may_hand_its_job_on(site: Site) -> None:
    """It looks forty times a lease: its beat may be seen one look late, and its silence another one."""
    job = site.submit("ok")
    site.run_one()
    told = TrainerJob.model_validate_json(site.artifacts.job_file(job.id, 1).read_text())
    assert told.lease_s * (1 + 2 / LOOKS_A_LEASE) < site.settings.lease_s


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_wall_clock_that_jumps_while_a_job_runs_changes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """It jumps between the claim and the trainer's start."""
    wall_clock, shift_s = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: wall_clock() + shift_s[0])
    for module in [module for name, module in sys.modules.items() if name.startswith("rlt_service.")]:
        if getattr(module, "now_utc", None) is now_utc:
            monkeypatch.setattr(module, "now_utc", lambda: now_utc() + timedelta(seconds=shift_s[0]))

    def jump(role: Role) -> Path:
        shift_s[0] = jump_s
        return site.settings.home

    job = site.submit("ok", max_runtime_s=600.0)
    done = site.run_one(replace(site.supervisor(), resolve_base=jump))
    assert (done.status, done.attempt) == ("succeeded", 1)
    assert 0.0 <= done.runtime_s < 600.0
    types = ["queued", "started", "log", "progress", "progress", "result", "succeeded"]
    assert site.event_types(job.id) == types


def test_a_trainer_that_ends_well_without_a_result_is_a_crash(site: Site) -> None:
    site.submit("no-result")
    assert site.run_one().status == "queued"


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("out_of_memory", "failed", "out_of_memory"),
        ("engine_unavailable-retryable", "queued", None),
        ("disk_full-retryable", "paused", "disk_full"),
    ],
)
def test_an_error_that_the_trainer_names_decides_what_follows(
    site: Site, name: str, status: str, code: str | None
) -> None:
    site.submit(name)
    job = site.run_one()
    assert (job.status, job.error.code if job.error else None) == (status, code)


def test_a_job_on_a_dataset_that_is_gone_is_invalid_and_not_tried_again(site: Site) -> None:
    site.submit("ok", dataset="ds_gone")
    job = site.run_one()
    assert job.error is not None
    assert (job.status, job.error.code, job.error.retryable) == ("failed", "invalid", False)
    assert "ds_gone" in job.error.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"teacher": "nobody"}, "nobody"),
        ({"student": "nobody"}, "nobody"),
        ({"splits": {"gate": "ds_gone"}}, "ds_gone"),
    ],
)
def test_a_job_that_names_what_is_not_there_is_invalid(site: Site, fields: dict[str, object], message: str) -> None:
    site.submit_rl("ok", **fields)
    job = site.run_one()
    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "invalid")
    assert message in job.error.message


def test_a_job_that_would_go_on_from_a_whole_model_is_invalid(site: Site) -> None:
    folder = site.artifacts.root / "imports" / "whole"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"all weights")
    candidate = Candidate(
        name="whole",
        role="teacher",
        base_model="tiny-model",
        format="stratos@1",
        folder=folder,
        sha256=weights_sha256(folder),
        lora_rank=None,
    )
    site.submit_rl("ok", teacher=site.registry.register(candidate).version)
    job = site.run_one()
    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "invalid")
    assert "an adapter on a fully trained model, whole@1" in job.error.message


def test_a_warm_up_for_another_base_is_invalid(site: Site) -> None:
    site.submit("ok", base_model="some-other-model")
    job = site.run_one()
    assert job.error is not None
    assert "tiny@0" in job.error.message


def test_a_job_past_its_longest_runtime_is_stopped(site: Site) -> None:
    job = site.submit("hang", max_runtime_s=0.4)
    done = site.run_one()
    assert done.error is not None
    assert (done.status, done.error.code) == ("failed", "max_runtime")
    assert gone(site.trainer_pids(job.id, 1))


def test_a_cancelled_job_ends_its_trainer(site: Site) -> None:
    job = site.submit("hang")
    threading.Timer(0.5, site.jobs.cancel, args=(job.id,)).start()
    assert site.run_one().status == "cancelled"
    assert gone(site.trainer_pids(job.id, 1))


def test_a_draining_worker_gives_its_job_back_without_counting_a_crash(site: Site) -> None:
    job = site.submit("hang")
    drain = Drain()

    def ask() -> None:
        wait_until(lambda: "progress" in site.event_types(job.id), what="training")
        drain.requested = True

    threading.Thread(target=ask).start()
    assert site.run_one(site.supervisor(drain=drain)).status == "queued"
    assert site.jobs.events(job.id, types=("requeued",))[0].data["crashes"] == 0
    assert gone(site.trainer_pids(job.id, 1))


def test_a_supervisor_that_lost_its_job_ends_the_trainer_and_writes_nothing(site: Site) -> None:
    job = site.submit("hang")

    def take_away() -> None:
        wait_until(lambda: "progress" in site.event_types(job.id), what="training")
        site.jobs.requeue(job.id, 1, "lease ran out")
        site.jobs.claim(queue=QUEUE, worker="other")

    threading.Thread(target=take_away).start()
    after = site.run_one()
    assert (after.status, after.attempt) == ("running", 2)
    assert site.event_types(job.id) == ["queued", "started", "progress", "requeued", "started"]
    assert gone(site.trainer_pids(job.id, 1))


def test_a_result_that_was_registered_before_the_crash_is_not_trained_again(site: Site) -> None:
    job = site.submit_rl("ok", promote={"when": "always"})

    def away(_: httpx.Request) -> httpx.Response:
        drain.requested = True
        return httpx.Response(503, json={"detail": "starting"})

    drain = Drain()
    assert site.run_one(site.supervisor(drain=drain, handler=away)).status == "queued"
    done = site.run_one(site.supervisor(handler=service("tiny@0", 200)))
    assert (done.status, done.attempt) == ("succeeded", 2)
    assert site.trainer_pids(job.id, 2) == []
    assert done.result is not None
    assert done.result.teacher == "algebra@1"


def service(
    serving: str | None, status: int, *, seen: list[dict[str, object]] | None = None
) -> Callable[..., httpx.Response]:
    """Play the aliases of the control service."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            aliases = [{"role": "teacher", "alias": "default", "version": serving}] if serving else []
            return httpx.Response(200, json={"object": "list", "data": aliases})
        if seen is not None:
            seen.append(json.loads(request.content))
        body = {} if status == 200 else {"detail": "reward +0.1, interval not above 0"}
        return httpx.Response(status, json=body)

    return answer


@pytest.mark.parametrize(("status", "outcome"), [(200, "promoted"), (409, "refused")])
def test_an_rl_job_stores_its_evaluation_and_asks_for_a_gated_promotion(site: Site, status: int, outcome: str) -> None:
    seen: list[dict[str, object]] = []
    job = site.submit_rl("gate", promote={"alias": "default", "when": "if_better"})
    done = site.run_one(site.supervisor(handler=service("tiny@0", status, seen=seen)))
    assert done.status == "succeeded"
    assert done.result is not None
    assert done.result.promotion is not None
    assert done.result.promotion.outcome == outcome
    evaluation = site.registry.evaluation_of_job(job.id)
    assert evaluation is not None
    assert (evaluation.before, evaluation.after, done.result.evaluation) == ("tiny@0", "algebra@1", evaluation.id)
    found = evaluation.difference
    assert (found.mean, found.ci_low, found.ci_high, found.n) == (0.5, 0.5, 0.5, 2)
    [body] = seen
    assert body["student"] == "default"
    assert (body["version"], body["expected"], body["gate"]) == ("algebra@1", "tiny@0", "if_better")
    assert body["evaluation"] == evaluation.id


@pytest.mark.parametrize("drains", [False, True], ids=["while it waits", "between two attempts at it"])
def test_a_job_that_is_cancelled_before_its_promotion_moves_no_alias_and_keeps_its_version(
    site: Site, *, drains: bool
) -> None:
    asked: list[str] = []
    drain = Drain()

    def away(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        if drains:
            drain.requested = True
        else:
            site.jobs.cancel(job.id)
            time.sleep(3 * site.settings.heartbeat_s)  # until the supervisor has heard of it
        return httpx.Response(503, json={"detail": "the engine starts"})

    job = site.submit_rl("gate", promote={"alias": "default", "when": "always"})
    site.run_one(site.supervisor(drain=drain, handler=away))
    if drains:
        assert site.jobs.get(job.id).status == "queued"
        site.jobs.cancel(job.id)
    assert site.jobs.get(job.id).status == "cancelled"
    assert [kind for kind in site.event_types(job.id) if kind in TERMINAL] == ["cancelled"]
    assert set(asked) == {"GET"}
    made = site.registry.version_of_job(job.id)
    assert made is not None
    assert site.registry.resolve("teacher", made.version).version == "algebra@1"


def test_without_a_policy_no_alias_is_asked_for(site: Site) -> None:
    site.submit_rl("ok")
    done = site.run_one(site.supervisor(handler=lambda _: pytest.fail("no request was expected")))
    assert done.result is not None
    assert done.result.promotion is not None
    assert done.result.promotion.outcome == "skipped"


def test_rollout_adapters_are_collected_when_the_job_has_ended(site: Site) -> None:
    job = site.submit_rl("ok")
    folder = site.artifacts.rollout_dir(job.id, 1, 0)
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"w")
    claimed = site.jobs.claim(queue=QUEUE, worker="test")
    assert claimed is not None
    sha256 = site.artifacts.checked_sha256(folder)
    site.registry.publish_rollout(job.id, RolloutPublishRequest(attempt=1, step=0, sha256=sha256))
    site.supervisor().run(claimed)
    assert site.jobs.get(job.id).status == "succeeded"
    assert not folder.exists()


def test_an_attempt_is_told_where_those_before_it_left_off(site: Site) -> None:
    job = site.submit("saved-once")
    assert site.run_one().status == "queued"
    assert site.run_one().status == "succeeded"
    told = json.loads(site.artifacts.job_file(job.id, 2).read_text())
    first = site.artifacts.attempt_dir(job.id, 1)
    assert told["journal_dirs"] == [str(first / "journal")]
    assert told["resume_points"] == [
        {
            "attempt": 1,
            "step": step,
            "folder": str(first / "checkpoints" / f"step-{step}"),
            "manifest_sha256": f"{step}" * 64,
        }
        for step in (4, 2)
    ]


def test_a_job_that_goes_on_from_anothers_checkpoint_began_where_that_one_did(site: Site) -> None:
    other = site.submit_rl("saved-once")
    assert [site.run_one().status for _ in range(2)] == ["queued", "succeeded"]
    folder = site.artifacts.attempt_dir(other.id, 1) / "checkpoints" / "step-4"
    folder.mkdir(parents=True)
    site.registry.move_alias("teacher", "default", "algebra@1", expected="tiny@0", reason="in between")
    job = site.submit_rl("ok", resume_from=f"{other.id}.1.4", target_name="branch")
    done = site.run_one()
    assert done.result is not None
    assert done.result.teacher == "branch@1"
    told = json.loads(site.artifacts.job_file(job.id, 1).read_text())
    assert told["branch_point"] == {
        "job_id": other.id,
        "attempt": 1,
        "step": 4,
        "folder": str(folder),
        "manifest_sha256": "4" * 64,
    }
    assert (told["resume_points"], told["journal_dirs"]) == ([], [])
    # `default` has moved on; the reference, and the parent of what is made, is where that training began.
    assert told["teacher_version"] == "tiny@0"
    assert site.registry.get_version("branch@1").parent == "tiny@0"


def test_a_checkpoint_that_has_gone_since_the_submission_ends_the_job(site: Site) -> None:
    other = site.submit_rl("saved-once")
    assert [site.run_one().status for _ in range(2)] == ["queued", "succeeded"]
    site.submit_rl("ok", resume_from=f"{other.id}.1.4")
    ended = site.run_one()
    assert ended.error is not None
    assert (ended.status, ended.error.code) == ("failed", "invalid")
    assert "any more" in ended.error.message


def test_all_attempts_train_against_the_same_student_though_its_alias_moves(site: Site) -> None:
    job = site.submit_rl("crash-once")
    site.run_one()
    other = site.submit("ok", role="student", target_name="other", priority=100)
    site.run_one()
    assert site.jobs.get(other.id).status == "succeeded"
    move = ("student", "default", "other@1")
    site.registry.move_alias(*move, expected="tiny@0", reason="in between")
    site.run_one()
    told = [json.loads(site.artifacts.job_file(job.id, attempt).read_text()) for attempt in (1, 2)]
    assert [each["student_version"] for each in told] == ["tiny@0", "tiny@0"]


def test_an_attempt_goes_on_against_the_student_of_the_one_that_a_newer_worker_began(site: Site) -> None:
    job = site.submit_rl("crash-once")
    site.run_one()
    told = site.artifacts.job_file(job.id, 1)
    told.write_text(json.dumps(json.loads(told.read_text()) | {"since_the_next_release": {"a": 1}}))
    site.submit("ok", role="student", target_name="other", priority=100)
    site.run_one()
    site.registry.move_alias("student", "default", "other@1", expected="tiny@0", reason="in between")
    site.run_one()
    assert json.loads(site.artifacts.job_file(job.id, 2).read_text())["student_version"] == "tiny@0"


def test_all_attempts_train_against_the_same_students_where_several_are_named(site: Site) -> None:
    first = site.submit("ok", role="student", target_name="other")
    site.run_one()
    assert site.jobs.get(first.id).status == "succeeded"
    job = site.submit_rl("crash-once", student=["other", "default"])
    site.run_one()
    site.registry.move_alias("student", "default", "other@1", expected="tiny@0", reason="in between")
    site.run_one()
    told = [json.loads(site.artifacts.job_file(job.id, attempt).read_text()) for attempt in (1, 2)]
    assert [each["student_version"] for each in told] == ["other@1", "other@1"]
    assert [each["other_student_versions"] for each in told] == [["tiny@0"], ["tiny@0"]]


def test_a_running_job_that_is_asked_to_pause_ends_its_trainer_and_goes_on_when_resumed(site: Site) -> None:
    job = site.submit("hang-once")

    def ask() -> None:
        wait_until(lambda: "progress" in site.event_types(job.id), what="training")
        site.jobs.pause(job.id)

    threading.Thread(target=ask).start()
    assert site.run_one().status == "paused"
    assert gone(site.trainer_pids(job.id, 1))
    site.jobs.resume(job.id)
    assert site.run_one().status == "succeeded"


def test_a_worker_without_the_base_gives_the_job_back_uncounted_and_says_that_it_is_unfit(site: Site) -> None:
    job = site.submit("ok")

    def missing(role: Role) -> Path:
        raise ConfigurationError("no such folder on this machine")

    claimed = site.jobs.claim(queue=QUEUE, worker="test")
    assert claimed is not None
    assert replace(site.supervisor(), resolve_base=missing).run(claimed) == "unfit"
    assert site.jobs.get(job.id).status == "queued"
    [given_back] = site.jobs.events(job.id, types=("requeued",))
    assert given_back.data["crashes"] == 0
    assert "no such folder" in given_back.data["reason"]
    assert site.jobs.claim(queue=QUEUE, worker="test") is None  # not at once: it would find the same


def test_a_disk_that_takes_no_job_file_pauses_the_job(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    job = site.submit("ok")
    write = Path.write_text

    def full(path: Path, *args: Any, **kwargs: Any) -> int:
        if path.suffix == ".json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    paused = site.run_one()
    assert paused.error is not None
    assert (paused.status, paused.error.code, paused.error.remedy) == ("paused", "disk_full", remedy_of("disk_full"))
    monkeypatch.undo()
    site.jobs.resume(job.id)
    assert site.run_one().status == "succeeded"


@pytest.mark.parametrize(("code", "status"), [(EXIT_DISK_FULL, "paused"), (EXIT_LEASE_LOST, "queued")])
def test_a_trainer_that_can_say_nothing_more_says_it_by_its_exit_code(site: Site, code: int, status: str) -> None:
    job = site.submit(f"exit-{code}")
    assert site.run_one().status == status
    crashes = [event.data["crashes"] for event in site.jobs.events(job.id, types=("requeued",))]
    assert crashes == ([] if status == "paused" else [0])


@pytest.mark.parametrize(
    ("name", "silence_s", "crashes"),
    [("exit-1", 99.0, 0), ("exit-1", 0.0, 1), ("crash", 99.0, 1)],
    ids=["a launcher's code after a silence", "a code without a silence", "a signal"],
)
def test_an_end_without_a_word_after_a_silence_of_a_lease_is_a_lost_lease_and_no_crash(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str, silence_s: float, crashes: int
) -> None:
    monkeypatch.setattr(TrainerProcess, "longest_silence_s", silence_s)
    job = site.submit(name)
    assert site.run_one().status == "queued"
    [given_back] = site.jobs.events(job.id, types=("requeued",))
    assert given_back.data["crashes"] == crashes


def test_what_was_trained_is_not_lost_when_the_database_is_away_at_the_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = site.submit("ok")
    finish, away = site.jobs.finish, [3]

    def finish_later(*args: Any, **kwargs: Any) -> Job:
        if away[0]:
            away[0] -= 1
            raise StorageUnavailableError("the database is locked")
        return finish(*args, **kwargs)

    monkeypatch.setattr(site.jobs, "finish", finish_later)
    assert site.run_one().status == "succeeded"
    assert (site.jobs.get(job.id).attempt, away) == (1, [0])


def test_the_longest_runtime_counts_all_attempts(site: Site) -> None:
    job = site.submit("hang", max_runtime_s=1000.0)
    claimed = site.jobs.claim(queue=QUEUE, worker="w1")
    assert claimed is not None
    site.jobs.beat(job.id, 1, runtime_s=999.8)
    site.jobs.requeue(job.id, 1, "lease ran out")
    done = site.run_one()
    assert done.error is not None
    assert (done.status, done.error.code, done.runtime_s > 999.8) == ("failed", "max_runtime", True)


def test_a_heartbeat_goes_on_after_an_answer_that_nobody_expected(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    job = site.submit("ok")
    site.jobs.claim(queue=QUEUE, worker="w1")
    beat, odd = site.jobs.beat, [True]

    def odd_once(*args: Any, **kwargs: Any) -> LeaseState:
        if odd.pop() if odd else False:
            raise RuntimeError("nobody expected this")
        return beat(*args, **kwargs)

    monkeypatch.setattr(site.jobs, "beat", odd_once)
    heartbeat = Heartbeat(site.jobs, job_id=job.id, attempt=1, period_s=0.02, on_beat=lambda: None)
    heartbeat.start()
    wait_until(lambda: site.jobs.running()[0].beat >= 2, what="beats")
    heartbeat.stop()


def test_a_worker_that_takes_a_job_rings_for_what_still_waits(site: Site) -> None:
    bell = FakeBell()
    for _ in range(3):
        site.submit("ok")
    count = work(site.jobs, supervisor=site.supervisor(), drain=Drain(), bell=bell, worker="w1", queue=QUEUE)
    assert (count, bell.rung) == (3, [QUEUE])  # once: the bell still sounds when the second is taken
