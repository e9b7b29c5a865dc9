"""POST /v1/train with `resume_from`: which checkpoints of other jobs a spec can go on from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from rlt_core.schemas.jobs import JOB_SPEC
from rlt_core.schemas.trainer import TrainerJob
from tests.support.control import ROWS, Control, check_problem, control_app

STEP = 4


@dataclass(frozen=True, kw_only=True)
class Branched:
    """A control service with one dataset, and a checkpoint for each kind of job."""

    control: Control
    specs: dict[str, dict[str, Any]]
    checkpoints: dict[str, str]

    def train(self, kind: str = "rl", **fields: Any) -> Any:
        body = {**self.specs[kind], "resume_from": self.checkpoints[kind], "target_name": "branch", **fields}
        return self.control.http.post("/v1/train?dry_run=true", json=body)


def with_checkpoint(control: Control, spec: dict[str, Any], **told: Any) -> str:
    """Lay what an attempt of a finished job leaves: what its trainer was told, and the folder of a checkpoint."""
    services = control.services
    job = services.jobs.submit(JOB_SPEC.validate_python({"priority": 100, **spec}))
    claimed = services.jobs.claim(queue="train", worker="test")
    assert claimed is not None
    assert claimed.job.id == job.id
    folder = services.artifacts.attempt_dir(job.id, 1)
    (folder / "checkpoints" / f"step-{STEP}").mkdir(parents=True)
    fields: dict[str, Any] = {
        "job_id": job.id,
        "attempt": 1,
        "kind": spec["kind"],
        "spec": job.spec,
        "base_model": services.registry.base().base_model,
        "base_model_dir": "base",
        "dataset_path": "rows.jsonl",
        "attempt_dir": str(folder),
        "events_path": "events.jsonl",
        "format_id": services.settings.format,
        "teacher_version": services.registry.base().version if spec["kind"] == "rl" else None,
        "student_version": services.registry.base("student").version if spec["kind"] == "rlvr" else None,
    }
    services.artifacts.job_file(job.id, 1).write_text(TrainerJob.model_validate(fields | told).model_dump_json())
    services.jobs.append_event(job.id, 1, "checkpoint", {"step": STEP, "manifest_sha256": "ab" * 32})
    services.jobs.finish(job.id, 1, "cancelled")
    return f"{job.id}.1.{STEP}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Branched]:
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=1024) as control:
        dataset = control.upload()
        answered = control.upload(row | {"answer": row["solution"]} for row in ROWS)
        common = {"dataset": dataset, "target_name": "algebra", "seed": 3, "splits": {"gate": 0.2}}
        specs: dict[str, dict[str, Any]] = {
            "rl": {"kind": "rl", "steps": 8, "questions_per_step": 2, **common},
            "warmup": {"kind": "warmup", "role": "teacher", "max_steps": 8, **common},
            "rlvr": {"kind": "rlvr", "steps": 8, "questions_per_step": 2, **common, "verdict": "exact"},
        }
        specs["rlvr"]["dataset"] = answered
        control.version("algebra")
        control.version("pupil", role="student")
        checkpoints = {kind: with_checkpoint(control, spec) for kind, spec in specs.items()}
        yield Branched(control=control, specs=specs, checkpoints=checkpoints)


@pytest.mark.parametrize("kind", ["rl", "warmup", "rlvr"])
def test_a_spec_of_the_same_data_and_adapter_can_go_on(made: Branched, kind: str) -> None:
    more: dict[str, Any] = {"learning_rate": 0.01, "schedule": "linear"}
    more |= {"max_steps": 20} if kind == "warmup" else {"steps": 20, "beta": 0.0, "samples_per_question": 16}
    answer = made.train(kind, **more)
    assert answer.status_code == 200, answer.text
    job = made.control.http.post("/v1/train", json={**made.specs[kind], "resume_from": made.checkpoints[kind]}).json()
    assert job["spec"]["resume_from"] == made.checkpoints[kind]


def test_a_dry_run_counts_the_steps_that_are_left(made: Branched) -> None:
    left, whole = (
        answer.json()["estimates"]["trained_tokens"]["value"] for answer in (made.train(), made.train(steps=12))
    )
    assert whole == 2 * left  # 4 steps and 8 after the checkpoint


@pytest.mark.parametrize(
    ("kind", "fields", "param"),
    [
        ("rl", {"seed": 4}, "/seed"),
        ("rl", {"splits": {"gate": 0.3}}, "/splits"),
        ("rl", {"questions_per_step": 4}, "/questions_per_step"),
        ("rl", {"lora": {"rank": 8}}, "/lora"),
        ("rl", {"steps": STEP}, "/steps"),
        ("rl", {"teacher": "algebra@1"}, "/teacher"),
        ("rlvr", {"questions_per_step": 4}, "/questions_per_step"),
        ("rlvr", {"student": "pupil@1"}, "/student"),
        ("rlvr", {"steps": STEP}, "/steps"),
        ("warmup", {"role": "student"}, "/role"),
        ("warmup", {"batch_size": 4}, "/batch_size"),
        ("warmup", {"max_tokens": 512}, "/max_tokens"),
        ("warmup", {"max_steps": STEP}, "/max_steps"),
    ],
    ids=lambda value: str(value),
)
def test_a_spec_of_other_data_or_another_adapter_is_refused_at_its_field(
    made: Branched, kind: str, fields: dict[str, Any], param: str
) -> None:
    check_problem(made.train(kind, **fields), 422, "invalid_request", param)


def test_another_dataset_is_refused_though_its_rows_are_the_same(made: Branched) -> None:
    check_problem(made.train(dataset=made.control.upload(ROWS)), 422, "invalid_request", "/dataset")


def test_a_checkpoint_of_another_kind_is_refused(made: Branched) -> None:
    found = made.train(resume_from=made.checkpoints["warmup"])
    assert "of the kind 'warmup'" in check_problem(found, 422, "invalid_request", "/resume_from")["detail"]


@pytest.mark.parametrize("told", [{"base_model": "other"}, {"format_id": "r1@1"}], ids=str)
def test_a_checkpoint_of_another_base_or_format_is_refused(made: Branched, told: dict[str, Any]) -> None:
    checkpoint = with_checkpoint(made.control, made.specs["rl"], **told)
    check_problem(made.train(resume_from=checkpoint), 422, "invalid_request", "/resume_from")


def test_the_teacher_is_where_that_training_began_unless_it_is_named(made: Branched) -> None:
    checkpoint = with_checkpoint(made.control, made.specs["rl"], teacher_version="algebra@1")
    for named in ({}, {"teacher": "algebra"}):
        found = made.train(resume_from=checkpoint, **named)
        assert (found.status_code, found.json().get("teacher")) == (200, "algebra@1"), found.text
    check_problem(made.train(resume_from=checkpoint, teacher="default"), 422, "invalid_request", "/teacher")


def test_a_checkpoint_that_has_given_way_is_not_found(made: Branched) -> None:
    checkpoint = with_checkpoint(made.control, made.specs["rl"])
    job = checkpoint.partition(".")[0]
    (made.control.services.artifacts.attempt_dir(job, 1) / "checkpoints" / f"step-{STEP}").rmdir()
    check_problem(made.train(resume_from=checkpoint), 404, "not_found", "/resume_from")
