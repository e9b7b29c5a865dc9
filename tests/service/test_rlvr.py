"""An rlvr as it is submitted: what is accepted, what is refused before anything starts, what a dry run tries."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlt_core.artifacts import adapter_sha256, weights_sha256
from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.jobs import JOB_SPEC, RlvrSpec
from rlt_service.control import judging
from rlt_service.control.routes.wiring import submission_of
from tests.engine.model_files import write_model
from tests.support.control import Control, check_problem, control_app, write_adapter

ROWS = [{"question": f"{number} + 1?", "solution": "s", "answer": str(number + 1)} for number in range(10)]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=1024) as made:
        made.version("pupil", role="student")
        made.version("stranger", role="student", seed=3, base_model="other")
        whole = made.import_model("whole")
        assert made.http.post("/v1/students/whole/versions", json={"folder": whole.name}).status_code == 201
        yield made


@pytest.fixture(scope="module")
def datasets(control: Control) -> dict[str, str]:
    return {
        "answers": control.upload(ROWS),
        "games": control.upload(row | {"nums": [1, 2], "target": 3} for row in ROWS),
        "some": control.upload([*ROWS, {"question": "?", "solution": "s"}]),
        "long": control.upload([*ROWS, {"question": "why " * 600, "solution": "s", "answer": "1"}]),
        "bare": control.upload({"question": f"{n} - 1?", "solution": "s"} for n in range(3)),
    }


def rlvr(dataset: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "rlvr", "dataset": dataset, "target_name": "made", "verdict": "exact", **fields}


@pytest.mark.parametrize(
    ("dataset", "fields", "code", "param", "why"),
    [
        ("some", {}, "invalid_request", "/dataset", "1 of 11 rows cannot be judged by the verdict exact"),
        ("answers", {"verdict": "choice"}, "invalid_request", "/dataset", "no letter of a choice"),
        ("answers", {"verdict": "countdown"}, "invalid_request", "/dataset", "no nums"),
        ("answers", {"verdict": "vibes"}, "invalid_request", "/verdict", "'exact'"),
        (
            "answers",
            {"splits": {"select": "bare"}, "eval_every": 1},
            "invalid_request",
            "/splits/select",
            "3 of 3 rows cannot be judged",
        ),
        ("answers", {"student": "nobody"}, "model_not_found", "/student", "nobody"),
        ("answers", {"student": "stranger"}, "invalid_request", "/student", "of the base 'other'"),
        ("answers", {"student": "whole"}, "not_available_yet", "/student", "a fully trained model"),
        ("answers", {"student": "job_0123456789abcdef.1@3"}, "invalid_request", "/student", "name a version"),
        ("answers", {"student": "pupil", "lora": {"rank": 8}}, "invalid_request", "/lora/rank", "whose rank is 4"),
        ("answers", {"lora": {"rank": 500}}, "invalid_request", "/lora/rank", "RLT_MAX_LORA_RANK"),
        ("answers", {"lora": None, "max_staleness": 1, "verdict": "exact"}, "not_available_yet", "/lora", "one policy"),
        ("answers", {"lora": None, "student": "pupil"}, "invalid_request", "/lora", "is an adapter"),
        ("long", {}, "prompt_too_long", "/max_tokens", "the student's prompt of row"),
        ("answers", {"max_tokens": 1020}, "prompt_too_long", "/max_tokens", "more than the 1024"),
        ("answers", {"samples_per_question": 1}, "invalid_request", "/samples_per_question", "2"),
        ("answers", {"questions_per_step": 11}, "invalid_request", "/questions_per_step", "lower it"),
        ("answers", {"splits": {"select": 0.2}}, "invalid_request", "/eval_every", "never looked at"),
        ("answers", {"eval_every": 2}, "invalid_request", "/splits/select", "splits.select"),
        ("answers", {"patience": 2}, "invalid_request", "/patience", "eval_every"),
        ("answers", {"reference_every": 2, "beta": 0.0}, "invalid_request", "/reference_every", "beta"),
        ("answers", {"parallel": {"processes": 3}}, "invalid_request", "/parallel/processes", "shared out"),
        ("answers", {"reward": {"format_penalty": 0.5}}, "invalid_request", "/reward/format_penalty", "0"),
        ("answers", {"reward": {"right": 0.0}}, "invalid_request", "/reward/right", "0"),
        ("answers", {"promote": {"when": "always"}}, "unknown_field", "/promote", "no field"),
        ("answers", {"teacher": "default"}, "unknown_field", "/teacher", "no field"),
        ("answers", {"top_p": 0.9}, "invalid_request", "/top_p", "1"),
        ("answers", {"target_name": "default"}, "invalid_request", "/target_name", "is an alias"),
    ],
)
def test_what_cannot_be_reinforced_is_refused_before_anything_starts(
    control: Control,
    datasets: dict[str, str],
    dataset: str,
    fields: dict[str, Any],
    code: str,
    param: str,
    why: str,
) -> None:
    before = control.services.jobs.counts()
    if isinstance(named := fields.get("splits", {}).get("select"), str):
        fields = fields | {"splits": {"select": datasets[named]}}
    answer = control.http.post("/v1/train", json=rlvr(datasets[dataset], **fields))
    status = 404 if code.endswith("not_found") else 422
    assert why in check_problem(answer, status, code, param=param)["detail"]
    assert control.services.jobs.counts() == before


def test_mathematics_is_never_judged_beside_a_step(control: Control, datasets: dict[str, str]) -> None:
    for spec in (
        rlvr(datasets["answers"], verdict="math", max_staleness=1),
        rlvr(datasets["answers"], max_staleness=1),
    ):
        answer = control.http.post("/v1/train", json=spec)
        if spec["verdict"] == "math":
            check_problem(answer, 422, "invalid_request", param="/max_staleness")
        else:
            assert answer.status_code == 202, answer.text


def test_a_dry_run_has_the_student_solve_a_few_rows_and_scores_nothing_for_the_reward(
    control: Control, datasets: dict[str, str]
) -> None:
    before = control.services.jobs.counts()
    spec = rlvr(datasets["answers"], student="pupil", splits={"select": 0.2}, eval_every=5)
    answer = control.http.post("/v1/train?dry_run=true", json=spec)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert control.services.jobs.counts() == before
    assert (found["teacher"], found["student"], found["held_out_rows"]["select"]) == (None, "pupil@1", 2)
    tried = found["rehearsal"]
    assert (len(tried["rows"]), tried["not_scored"], tried["student"]) == (5, None, "pupil@1")
    for row in tried["rows"]:  # the fake student closes all of its solutions
        assert (row["well_formed"], row["r_ss"], row["r_kl"]) == (True, None, None)
        assert row["reward"] == (1.0 if row["right"] else 0.0)
    estimates = found["estimates"]
    assert "nothing is scored" in estimates["scored_tokens"]["basis"]
    # 10 steps x 4 questions x 8 samples, and 2 select questions at steps 5 and 10.
    mean = tried["generated_tokens"] / 5
    assert estimates["generated_tokens"]["value"] == pytest.approx((320 + 4) * mean)
    assert estimates["train_s"]["value"] > 0.0
    assert found["longest_prompt_tokens"] == found["lengths"]["longest_tokens"]
    assert found["lengths"]["mean_reader_tokens"] is None


@pytest.mark.parametrize("fields", [{"verdict": "math_verify"}, {"max_tokens": 300}])
def test_a_rehearsal_says_nothing_of_an_answer_that_it_cannot_judge(
    control: Control, datasets: dict[str, str], fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlt_service.control.rehearsal.REHEARSED_TOKENS", 128 if "verdict" in fields else 5)
    answer = control.http.post("/v1/train?dry_run=true", json=rlvr(datasets["answers"], **fields))
    assert answer.status_code == 200, answer.text
    assert {(row["reward"], row["right"]) for row in answer.json()["rehearsal"]["rows"]} == {(None, None)}


def test_a_version_that_a_job_starts_from_is_not_deleted(control: Control, datasets: dict[str, str]) -> None:
    control.version("started", role="student", seed=9)
    job = control.http.post("/v1/train", json=rlvr(datasets["answers"], student="started")).json()
    answer = control.http.delete("/v1/students/started/versions/1")
    assert job["id"] in check_problem(answer, 409, "version_in_use")["detail"]


def test_policies_of_students_with_a_base_of_their_own_are_called_on_their_engine(tmp_path: Path) -> None:
    with control_app(tmp_path, student_model="/models/other") as control:
        services, called = control.services, {}
        for kind, role in (("rlvr", "student"), ("rl", "teacher")):
            job = control.running_job(kind=kind)
            folder = write_adapter(services.artifacts.rollout_dir(job.id, 1, 0))
            body = {"attempt": 1, "step": 0, "sha256": adapter_sha256(folder)}
            made = control.http.post(f"/v1/jobs/{job.id}/rollouts", json=body)
            assert made.status_code == 200, made.text
            asked = {"question": "1 + 1?", "student": made.json()["version"], "include": ["tokens"]}
            answer = control.http.post("/v1/solve", json=asked)
            assert answer.status_code == 200, answer.text
            called[role] = answer.json()["student"]["base_model"]
        bases = {role: services.registry.base(role).base_model for role in ("teacher", "student")}
        assert called == bases
        assert len(set(bases.values())) == 2
        control.version("pupil")  # of the teachers' base
        refused = control.http.post("/v1/train", json=rlvr(control.upload(ROWS), student="pupil"))
        assert "the teachers' base" in check_problem(refused, 422, "invalid_request", param="/student")["detail"]


def test_policies_of_all_weights_answer_one_after_the_other_and_each_only_for_itself(tmp_path: Path) -> None:
    with control_app(tmp_path) as control:
        job = control.running_job(kind="rlvr", lora=None)
        texts: list[str] = []
        for step in range(3):
            folder = write_model(control.services.artifacts.rollout_dir(job.id, 1, step), seed=step)
            body = {"attempt": 1, "step": step, "sha256": weights_sha256(folder)}
            made = control.http.post(f"/v1/jobs/{job.id}/rollouts", json=body)
            assert made.status_code == 200, made.text
            asked = {"question": "1 + 1?", "student": made.json()["version"], "seed": 1, "include": ["tokens"]}
            answer = control.http.post("/v1/solve", json=asked)
            assert answer.status_code == 200, answer.text
            assert answer.json()["student"]["version"] == f"{job.id}.1@{step}"
            texts.append(answer.json()["solutions"][0]["generated"])
            holds = [engine["holds"] for engine in control.http.get("/v1/capabilities").json()["engines"]]
            assert [name for name in holds if name.startswith("job_")] == [f"{job.id}.1@{step}"]
        assert texts[0] != texts[1] != texts[2]
        gone = control.http.post("/v1/solve", json={"question": "1 + 1?", "student": f"{job.id}.1@1"})
        assert "moved on" in check_problem(gone, 404, "model_not_found", param="/student")["detail"]


def test_whole_students_need_places_beside_the_policies_of_all_weights(tmp_path: Path) -> None:
    with control_app(tmp_path, max_full_engines=1) as control:
        whole = control.import_model("whole")
        assert control.http.post("/v1/students/whole/versions", json={"folder": whole.name}).status_code == 201
        rows = control.upload(ROWS)
        spec = {"kind": "rl", "dataset": rows, "target_name": "made", "lora": None, "questions_per_step": 2}
        answer = control.http.post("/v1/train", json=spec | {"student": "whole"})
        told = check_problem(answer, 422, "invalid_request", param="/lora")["detail"]
        assert "RLT_MAX_FULL_ENGINES=2" in told
        assert "whole@1" in told
        assert control.http.post("/v1/train", json=spec).status_code == 202
        # A whole model is where such a training may start, and needs no place of its own.
        begun = control.http.post("/v1/train", json=rlvr(rows, lora=None, student="whole"))
        assert begun.status_code == 202, begun.text


def test_mathematics_needs_its_library_where_workers_run_here(
    control: Control, datasets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = control.services.settings.model_copy(update={"broker_url": None})
    submission = replace(submission_of(control.services), settings=here)
    spec = JOB_SPEC.validate_python(rlvr(datasets["answers"], verdict="math"))
    assert isinstance(spec, RlvrSpec)
    monkeypatch.setattr(judging, "LIBRARY", "no_such_library")
    with pytest.raises(InvalidRequestError, match="pip install") as caught:
        submission.check(spec)
    assert caught.value.param == "/verdict"
    monkeypatch.setattr(judging, "LIBRARY", "json")
    assert submission.check(spec).start == submission.check(spec).student
