"""A manifest says where in its data a run stands; a resume that would go on elsewhere is noticed."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rlt_core.schemas.trainer import CheckpointEvent, LogEvent, ProgressEvent, ResumePoint, TrainerJob
from rlt_train.checkpoints import verified
from rlt_train.data_order import ByLength, DataCourse, EpochSampler, InGroups
from rlt_train.errors import UnfitCheckpointError
from rlt_train.randomness import GENERATORS, random_sha256
from rlt_train.rl import run_rl
from rlt_train.sft import RltSftTrainer
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]
SPEC = {"max_steps": 4, "epochs": 10.0, "save_every": 3, "batch_size": 4}  # two steps an epoch


def points_of(world: Any, job: TrainerJob) -> list[ResumePoint]:
    return [
        ResumePoint(attempt=job.attempt, step=event.step, folder=event.path, manifest_sha256=event.manifest_sha256)
        for event in reversed(world.events(job))
        if isinstance(event, CheckpointEvent)
    ]


def manifest_of(point: ResumePoint) -> dict[str, Any]:
    return json.loads((Path(point.folder) / "manifest.json").read_text())


def again(world: Any, points: list[ResumePoint]) -> TrainerJob:
    return world.warmup(**SPEC).model_copy(update={"attempt": 2, "resume_points": points})


@pytest.fixture
def trained(world: Any) -> list[ResumePoint]:
    """Give the checkpoints of the third and fourth step of a warm-up, the last first."""
    job = world.warmup(**SPEC)
    run_warmup(world.context(job))
    points = points_of(world, job)
    assert [point.step for point in points] == [4, 3]
    return points


def test_a_manifest_holds_all_that_a_resume_needs_to_be_sure_of(world: Any, trained: list[ResumePoint]) -> None:
    manifest, folder = manifest_of(trained[1]), Path(trained[1].folder)
    assert manifest["job_id"] == world.warmup().job_id
    assert (manifest["attempt"], manifest["step"]) == (1, 3)
    assert len(manifest["spec_sha256"]) == 64
    assert manifest["threads"] == 1
    data_sha256 = hashlib.sha256(hashlib.sha256(world.dataset.read_bytes()).hexdigest().encode()).hexdigest()
    cursor = manifest["cursor"]
    assert (cursor["epoch"], cursor["rows_done"], cursor["data_sha256"]) == (1, 4, data_sha256)
    for name, facts in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert facts == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    lying = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == lying - {"manifest.json"}
    states = torch.load(folder / "state.pt", weights_only=True)
    assert manifest["random_sha256"] == random_sha256(states)
    assert set(manifest["random_sha256"]) == set(GENERATORS[: 4 if torch.cuda.is_available() else 3])


def test_random_states_are_told_apart_by_their_hashes() -> None:
    def state() -> dict[str, Any]:
        return {"torch_rng": torch.get_rng_state(), "python_rng": (3, (1, 2), None)}

    before = state()
    assert random_sha256(before) == random_sha256(state())
    torch.rand(1)
    other = random_sha256(before), random_sha256(state())
    assert [name for name in other[0] if other[0][name] != other[1][name]] == ["torch_rng"]


def rewritten(point: ResumePoint, **fields: object) -> ResumePoint:
    """Write another manifest, as if it had been announced so; None leaves a field out."""
    path, manifest = Path(point.folder) / "manifest.json", manifest_of(point) | fields
    path.write_text(json.dumps({name: value for name, value in manifest.items() if value is not None}))
    return point.model_copy(update={"manifest_sha256": hashlib.sha256(path.read_bytes()).hexdigest()})


def with_cursor(point: ResumePoint, **fields: object) -> ResumePoint:
    return rewritten(point, cursor=manifest_of(point)["cursor"] | fields)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"job_id": "job_fedcba9876543210fedc"}, "of another job or attempt"),
        ({"attempt": 2}, "of another job or attempt"),
        ({"step": 5}, "of another step or of another spec"),
        ({"spec_sha256": "0" * 64}, "of another step or of another spec"),
        ({"base_model": "other"}, "of another base or format"),
        ({"format_id": "other@1"}, "of another base or format"),
        ({"files": {}}, "lacks files or holds others"),
        *(({name: None}, "its manifest says less") for name in ("files", "attempt", "cursor", "random_sha256")),
        ({"cursor": {"row": 4}}, "it names its place otherwise"),
    ],
)
def test_a_manifest_that_says_something_else_is_not_gone_by_though_it_was_announced(
    world: Any, trained: list[ResumePoint], fields: dict[str, object], fault: str
) -> None:
    with pytest.raises(UnfitCheckpointError, match=fault):
        verified(rewritten(trained[0], **fields), job=again(world, []))


WRONG = ({"epoch": 0}, {"rows_done": 4}, {"order_sha256": "0" * 64}, {"data_sha256": "0" * 64})


@pytest.mark.parametrize("fields", WRONG, ids=lambda fields: next(iter(fields)))
def test_a_checkpoint_that_stands_elsewhere_in_the_data_gives_way_to_the_one_before(
    world: Any, trained: list[ResumePoint], fields: dict[str, object]
) -> None:
    job = again(world, [with_cursor(trained[0], **fields), trained[1]])
    run_warmup(world.context(job))
    events = world.events(job)
    said = [event.message for event in events if isinstance(event, LogEvent)]
    assert f"step 4 stands at another place in the data ({next(iter(fields))})" in said[0]
    assert said[1] == "goes on after step 3"
    assert [event.step for event in events if isinstance(event, ProgressEvent)] == [4]


def test_a_resume_on_other_rows_is_noticed_and_starts_anew(world: Any, trained: list[ResumePoint]) -> None:
    rows = world.dataset.read_text().splitlines(keepends=True)
    world.dataset.write_text("".join(reversed(rows)))
    job = again(world, trained)
    run_warmup(world.context(job))
    events = world.events(job)
    said = [event.message for event in events if isinstance(event, LogEvent)]
    assert all("another place in the data (data_sha256)" in message for message in said[:2])
    assert said[2] == "no checkpoint can be used: training starts anew"
    assert [event.step for event in events if isinstance(event, ProgressEvent)] == [1, 2, 3, 4]


def test_a_resume_in_another_order_is_noticed(
    world: Any, trained: list[ResumePoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = ByLength.order
    monkeypatch.setattr(ByLength, "order", lambda sampler: order(sampler)[::-1])
    job = again(world, trained)
    run_warmup(world.context(job))
    said = [event.message for event in world.events(job) if isinstance(event, LogEvent)]
    assert all("another place in the data (order_sha256)" in message for message in said[:2])


def rows_from(sampler: EpochSampler, cursor: dict[str, Any]) -> list[int]:
    """Give the numbers of the rows that a step takes which begins at a manifest's place."""
    sampler.set_epoch(cursor["epoch"])
    order = sampler.order()
    assert hashlib.sha256(",".join(map(str, order)).encode()).hexdigest() == cursor["order_sha256"]
    return order[cursor["rows_done"] :][: sampler.rows_per_step]


def test_the_place_that_a_manifest_names_is_where_a_warm_up_goes_on(
    world: Any, trained: list[ResumePoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[list[int]]] = []
    samplers: list[EpochSampler] = []
    rows: list[list[int]] = []
    loss, course_of = RltSftTrainer.compute_loss, RltSftTrainer.course

    def watched(trainer: Any, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
        kept = zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True)
        seen.append([ids[mask].tolist() for ids, mask in kept])
        return loss(trainer, model, inputs, *more, **named)

    def course(trainer: Any, job: TrainerJob) -> DataCourse:
        rows.extend(trainer.train_dataset["input_ids"])
        samplers.append(trainer._get_train_sampler())
        return course_of(trainer, job)

    monkeypatch.setattr(RltSftTrainer, "compute_loss", watched)
    monkeypatch.setattr(RltSftTrainer, "course", course)
    run_warmup(world.context(again(world, trained[1:])))
    due = rows_from(samplers[0], manifest_of(trained[1])["cursor"])
    assert len(due) == 4
    assert [ids for batch in seen for ids in batch] == [rows[number] for number in due]


def test_the_place_that_a_manifest_names_is_where_rl_goes_on(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 6, "save_every": 5})  # 8 questions, 2 a step: four steps an epoch
    services = fake_services(job)
    run_rl(world.context(job, services))
    cursor = manifest_of(points_of(world, job)[-1])["cursor"]
    assert (cursor["epoch"], cursor["rows_done"]) == (1, 2)
    due = rows_from(InGroups(8, chunk=2, samples=4, times=1, seed=job.spec.seed), cursor)
    questions = [json.loads(line)["question"] for line in world.dataset.read_text().splitlines()]
    asked = [request.question for request in services.explained if request.teacher.endswith("@5")]
    assert asked == [questions[number] for number in due]
