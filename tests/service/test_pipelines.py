"""A pipeline over HTTP: what is refused before anything starts, its dry run, its steps as jobs, a restart."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.jobs import JobError, JobResult
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_service.store.registry import Candidate
from tests.core.pipeline_specs import COLLECT, DISTILL, EVALUATE, RL, WARMUP, step
from tests.support.control import Control, check_problem, control_app
from tests.support.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "specs"
Body = dict[str, Any]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=1024) as made:
        yield made


@pytest.fixture(scope="module")
def dataset(control: Control) -> str:
    return control.upload()


@pytest.fixture(scope="module")
def bench(control: Control) -> str:
    return control.upload({"question": f"{a} + 1?", "solution": "s", "answer": str(a + 1)} for a in range(4))


def pipeline(dataset: str, *steps: Body, bench: str = "", **fields: Any) -> Body:
    """Make a body; each step reads `dataset`, an evaluate `bench`, unless it refers."""
    for one in steps:
        if not one["spec"]["dataset"].startswith("$"):
            one["spec"]["dataset"] = bench if one["spec"]["kind"] == "evaluate" and bench else dataset
    return {"kind": "pipeline", "steps": list(steps), **fields}


def chain() -> list[Body]:
    return [
        step("warmup", WARMUP),
        step("rl", RL, teacher="$warmup.teacher", questions_per_step=2),
        step("collect", COLLECT, teacher="$rl.teacher"),
        step("distil", DISTILL, dataset="$collect.dataset"),
        step("measure", EVALUATE, models=["default", "$distil.student"]),
    ]


def post(control: Control, body: Body, query: str = "") -> Any:
    return control.http.post(f"/v1/train{query}", json=body)


REFUSED: list[tuple[str, list[Body], Body, str, str | None, str]] = [
    ("a mistyped field", [step("a", WARMUP, epoch=1)], {}, "unknown_field", "/steps/0/spec/epoch", "epochs"),
    ("a kind that is none", [step("a", WARMUP, kind="x")], {}, "invalid_request", "/steps/0/spec", "tag"),
    ("a pipeline in it", [step("a", WARMUP, kind="pipeline")], {}, "invalid_request", "/steps/0/spec", "tag"),
    ("no steps", [], {}, "invalid_request", "/steps", "at least 1"),
    ("a rank that none serves", [step("a", WARMUP, lora={"rank": 512})], {}, "invalid_request",
     "/steps/0/spec/lora/rank", "above the"),
    ("a teacher that is not there", [step("a", COLLECT, teacher="nobody")], {}, "model_not_found",
     "/steps/0/spec/teacher", "no teacher"),
    ("k above n behind a reference",
     [step("a", DISTILL), step("b", EVALUATE, model="$a.student", pass_at=[1, 4])], {}, "invalid_request",
     "/steps/1/spec/pass_at/1", "pass@4"),
    ("rows without answers behind a reference", [step("a", DISTILL), step("b", EVALUATE, model="$a.student")], {},
     "invalid_request", "/steps/1/spec/dataset", "cannot be judged"),
    ("a field that looks at no row, behind a dataset to come",
     [step("a", COLLECT), step("b", DISTILL, dataset="$a.dataset", lora={"targets": ["lm_head"]})], {},
     "invalid_request", "/steps/1/spec/lora/targets/0", "cannot be a target"),
    ("another rank to go on with",
     [step("a", WARMUP, lora={"rank": 4}), step("b", RL, teacher="$a.teacher", lora={"rank": 8})], {},
     "invalid_request", "/steps/1/spec/lora/rank", "whose rank is 4"),
    ("a whole model to go on with", [step("a", WARMUP, lora=None), step("b", RL, teacher="$a.teacher")], {},
     "not_available_yet", "/steps/1/spec/teacher", "fully trained"),
    ("a ring", [step("a", RL, teacher="$b.teacher"), step("b", RL, teacher="$a.teacher")], {}, "invalid_request",
     None, "wait for each other"),
    ("nothing to go on from", [step("a", WARMUP)], {"resume_from": {"job": "job_" + "0" * 20, "step": "a"}},
     "not_found", "/resume_from/job", "no job"),
    ("no time zone", [step("a", WARMUP)], {"not_before": "2030-01-01T00:00:00"}, "invalid_request", "/not_before",
     "time zone"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "fields", "code", "param", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_what_can_be_known_is_refused_before_anything_starts(
    control: Control, dataset: str, steps: Any, fields: Body, code: str, param: str | None, why: str, query: str
) -> None:
    before = control.services.jobs.counts()
    answer = post(control, pipeline(dataset, *json.loads(json.dumps(steps)), **fields), query)
    assert answer.status_code in (404, 422), answer.text
    found = answer.json()
    assert found["code"] == code, found["detail"]
    assert why in found["detail"]
    assert param is None or found["param"] == param
    assert control.services.jobs.counts() == before


def test_a_dry_run_adds_up_what_is_known_and_names_what_is_not(control: Control, dataset: str, bench: str) -> None:
    before = control.services.jobs.counts()
    answer = post(control, pipeline(dataset, *chain(), bench=bench), "?dry_run=true")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert {step["step"]: step["unknown"] for step in found["steps"]} == {
        "warmup": [],
        "rl": ["$warmup.teacher"],
        "collect": ["$rl.teacher"],
        "distil": ["$collect.dataset"],
        "measure": ["$distil.student"],
    }
    assert found["steps"][0]["dry_run"]["train_rows"] == found["train_rows"] == 10
    assert found["estimates"]["trained_tokens"]["value"] > 0
    assert found["estimates"]["trained_tokens"]["basis"] == (
        "the sum of warmup; not known: rl, collect, distil, measure"
    )
    assert control.services.jobs.counts() == before


def test_two_steps_whose_inputs_are_known_are_both_tried_and_added(control: Control, dataset: str) -> None:
    body = pipeline(dataset, step("a", COLLECT, max_tokens=32), step("b", COLLECT, max_tokens=32), rounds=2)
    found = post(control, body, "?dry_run=true").json()
    tokens = [step["dry_run"]["estimates"]["generated_tokens"]["value"] for step in found["steps"]]
    assert found["estimates"]["generated_tokens"]["value"] == sum(tokens)
    assert found["estimates"]["generated_tokens"]["basis"].endswith("of the first of 2 rounds")
    assert found["dataset_rows"] == 20


def steps_of(control: Control, pipeline_id: str) -> list[Body]:
    return control.http.get("/v1/jobs", params={"pipeline": pipeline_id}).json()["data"][::-1]


def wait_for_step(control: Control, pipeline_id: str, step_id: str) -> Body:
    def begun() -> list[Body]:
        return [one for one in steps_of(control, pipeline_id) if one["pipeline"]["step"] == step_id]

    wait_until(lambda: bool(begun()), what=f"{step_id} begun")
    return begun()[0]


def work(control: Control, job_id: str, *, error: JobError | None = None, **made: str) -> None:
    """Do what a worker does to the next job, which must be this one."""
    claimed = control.services.jobs.claim(queue="train", worker="test")
    assert claimed is not None
    assert claimed.job.id == job_id
    result = JobResult.model_validate({**made, "cost": {"total_s": 1.0}})
    status = "failed" if error else "succeeded"
    control.services.jobs.finish(job_id, claimed.attempt, status, result=None if error else result, error=error)
    assert control.services.conductor is not None
    control.services.conductor.wake()


def test_steps_are_jobs_of_their_own_and_another_pipeline_goes_on_from_any(
    control: Control, dataset: str, bench: str
) -> None:
    body = pipeline(dataset, *chain(), bench=bench, priority=100)
    answer = post(control, body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["progress"]["total"], job["pipeline"]) == ("pipeline", 5, None)
    warmup = wait_for_step(control, job["id"], "warmup")
    assert warmup["pipeline"] == {"job": job["id"], "step": "warmup", "round": 1}
    unfinished = {"resume_from": {"job": job["id"], "step": "rl"}}
    found = check_problem(post(control, body | unfinished), 422, "invalid_request", "/resume_from/job")
    assert "is running: cancel it" in found["detail"]
    teacher = control.version("algebra")
    work(control, warmup["id"], teacher=teacher)
    rl = wait_for_step(control, job["id"], "rl")
    assert rl["spec"]["teacher"] == teacher
    refused = control.http.delete(f"/v1/teachers/algebra/versions/{teacher.partition('@')[2]}")
    assert refused.status_code == 409
    work(control, rl["id"], error=JobError(code="diverged", message="it ran away"))
    wait_until(lambda: control.http.get(f"/v1/jobs/{job['id']}").json()["status"] == "failed", what="the end")
    ended = control.http.get(f"/v1/jobs/{job['id']}").json()
    assert (ended["error"]["code"], ended["result"]["cost"]) == ("step_failed", {"total_s": 1.0})
    assert "it ran away" in ended["error"]["message"]
    begin = {"resume_from": {"job": job["id"], "step": "rl"}}
    changed = json.loads(json.dumps(body | begin))
    changed["steps"][0]["spec"]["max_tokens"] = 64
    check_problem(post(control, changed), 422, "invalid_request", "/steps/0/spec/max_tokens")
    again = post(control, body | begin).json()
    assert again["progress"]["step"] == 1
    rl = wait_for_step(control, again["id"], "rl")
    assert (rl["spec"]["teacher"], rl["pipeline"]["job"]) == (teacher, again["id"])
    dry = post(control, body | begin, "?dry_run=true").json()
    assert [step["step"] for step in dry["steps"]] == ["rl", "collect", "distil", "measure"]
    assert dry["steps"][0]["unknown"] == []
    assert control.http.post(f"/v1/jobs/{again['id']}/cancel").json()["cancel_requested"] is True
    wait_until(lambda: control.http.get(f"/v1/jobs/{again['id']}").json()["status"] == "cancelled", what="the end")
    assert control.http.get(f"/v1/jobs/{rl['id']}").json()["status"] == "cancelled"
    steps = control.http.get(f"/v1/jobs/{again['id']}").json()["result"]["steps"]
    assert [(one["step"], one["taken_over"], one["status"]) for one in steps] == [
        ("warmup", True, "succeeded"),
        ("rl", False, "cancelled"),
    ]


def test_the_same_submission_with_a_key_makes_one_pipeline(control: Control, dataset: str) -> None:
    body, key = pipeline(dataset, step("a", WARMUP)), {"Idempotency-Key": "one-pipeline"}
    first, second = (control.http.post("/v1/train", json=body, headers=key) for _ in range(2))
    assert (first.json()["id"], second.headers["Idempotency-Replayed"]) == (second.json()["id"], "true")
    control.http.post(f"/v1/jobs/{first.json()['id']}/cancel")


def test_a_restart_from_what_is_no_pipeline_is_refused(control: Control, dataset: str) -> None:
    warmup = control.job(dataset=dataset)
    body = pipeline(dataset, step("a", WARMUP), resume_from={"job": warmup.id, "step": "a"})
    found = check_problem(post(control, body), 422, "invalid_request", "/resume_from/job")
    assert "is a rl, no pipeline" in found["detail"]
    control.services.jobs.cancel(warmup.id)


@pytest.mark.parametrize("name", ["full_pipeline", "self_teaching"])
def test_a_ready_pipeline_is_accepted_once_its_datasets_are_named(
    control: Control, dataset: str, bench: str, name: str
) -> None:
    text = (EXAMPLES / f"{name}.json").read_text(encoding="utf-8")
    named = {"ds_" + "0" * 20: dataset, "ds_" + "1" * 20: bench, "ds_" + "2" * 20: bench}
    body = json.loads(functools.reduce(lambda made, name: made.replace(name, named[name]), named, text))
    assert PipelineSpec.model_validate(json.loads(text)).rounds == body.get("rounds", 1)
    answer = post(control, body, "?dry_run=true")
    assert answer.status_code == 200, answer.text


def test_a_distillation_that_names_a_teacher_collects_first(control: Control, dataset: str) -> None:
    teacher = control.version("explainer", seed=5)
    body = {
        "kind": "distill",
        "teacher": "explainer",
        "dataset": dataset,
        "target_name": "taught",
        "epochs": 2.0,
        "seed": 3,
    }
    dry = post(control, body, "?dry_run=true")
    assert dry.status_code == 200, dry.text
    assert [one["step"] for one in dry.json()["steps"]] == ["collect", "distill"]
    answer = post(control, body)
    assert answer.status_code == 202, answer.text
    made = answer.json()
    collect, distill = (one["spec"] for one in made["spec"]["steps"])
    assert (made["kind"], made["spec"]["seed"]) == ("pipeline", 3)
    assert (collect["kind"], collect["teacher"], collect["dataset"]) == ("collect", teacher, dataset)
    assert (distill["dataset"], distill["target_name"], distill["epochs"]) == ("$collect.dataset", "taught", 2.0)
    assert wait_for_step(control, made["id"], "collect")["kind"] == "collect"
    control.http.post(f"/v1/jobs/{made['id']}/cancel")


@pytest.mark.parametrize(
    ("fields", "status", "param", "why"),
    [
        ({"teacher": "nobody"}, 404, "/teacher", "nobody"),
        ({"teacher": "fake@0"}, 422, "/dataset", "trained on no dataset"),
        ({"teacher": "fake@0", "dataset": "ds_" + "f" * 20}, 404, "/dataset", "no dataset"),
        ({"teacher": "fake@0", "resume_from": "job_" + "0" * 20 + ".1.1"}, 422, "/resume_from", "without a teacher"),
        ({"teacher": "default", "lora": {"rank": 512}, "dataset": "$"}, 422, "/lora/rank", "above the"),
        ({}, 422, "/dataset", "or the teacher"),
    ],
)
def test_what_is_wrong_with_it_points_into_what_was_sent(
    control: Control, dataset: str, fields: Body, status: int, param: str, why: str
) -> None:
    body: Body = {"kind": "distill", "target_name": "taught"} | fields
    if body.get("dataset") == "$":
        body["dataset"] = dataset
    for query in ("", "?dry_run=true"):
        answer = post(control, body, query)
        assert (answer.status_code, answer.json()["param"]) == (status, param), answer.text
        assert why in answer.json()["detail"]


def test_within_a_pipeline_the_two_steps_are_written_out(control: Control, dataset: str) -> None:
    answer = post(control, pipeline(dataset, step("a", DISTILL, teacher="default")))
    assert "write a collect" in check_problem(answer, 422, "invalid_request", "/steps/0/spec/teacher")["detail"]


def test_a_teacher_explains_what_it_was_trained_on_where_no_questions_are_named(control: Control, dataset: str) -> None:
    found = control.services.registry.base()
    folder = control.import_folder("learned", seed=9)
    control.services.registry.register(
        Candidate(
            name="learned",
            role="teacher",
            base_model=found.base_model,
            format=found.format,
            folder=folder,
            sha256=adapter_sha256(folder),
            lora_rank=4,
            dataset_id=dataset,
        )
    )
    made = post(control, {"kind": "distill", "teacher": "learned", "target_name": "taught"})
    assert made.status_code == 202, made.text
    assert made.json()["spec"]["steps"][0]["spec"]["dataset"] == dataset
    control.http.post(f"/v1/jobs/{made.json()['id']}/cancel")
