"""A warm-up of all weights: a whole model comes out, and a resume or a branch goes on with it to the bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from rlt_core.artifacts import kind_of, weights_sha256
from rlt_core.model_shape import read_shape
from rlt_core.schemas.trainer import CheckpointEvent, ProgressEvent, ResultEvent, ResumePoint, TrainerJob
from rlt_service.engine.full_weights import validate_full
from rlt_service.engine.protocol import FullRef
from rlt_train.checkpoints import MODEL_FILE, verified
from rlt_train.errors import TrainingMemoryError, UnfitCheckpointError
from rlt_train.models import load_whole, policy_tensors
from rlt_train.pass_plan import plan_passes
from rlt_train.resuming import load_weights
from rlt_train.warmup import run_warmup
from tests.train.on_tiny_model.test_branching import OTHER, branch_point
from tests.train.on_tiny_model.test_pass_plan import with_room
from tests.train.on_tiny_model.test_two_ranks import TWO, losses, two_ranks

pytestmark = pytest.mark.training

STEPS = {"lora": None, "max_steps": 6, "epochs": 100.0, "learning_rate": 0.005, "save_every": 3}


def weights(result: ResultEvent) -> dict[str, torch.Tensor]:
    return load_file(Path(result.adapter_dir) / "model.safetensors")


def steps_of(world: Any, job: TrainerJob) -> list[int]:
    return [event.step for event in world.events(job) if isinstance(event, ProgressEvent)]


def trained_before(world: Any) -> TrainerJob:
    """Train as another job, which leaves a checkpoint after its third step, in the middle of an epoch."""
    return world.job({"kind": "warmup", "role": "teacher", "batch_size": 4} | STEPS, job_id=OTHER)


def test_all_weights_learn_and_come_out_as_a_model_that_engines_take(world: Any) -> None:
    job = world.warmup(**STEPS)
    result = run_warmup(world.context(job))
    folder = Path(result.adapter_dir)
    assert (kind_of(folder), result.lora_rank, result.sha256) == ("full", None, weights_sha256(folder))
    validate_full(FullRef(version="tiny@1", path=folder, sha256=result.sha256), base=world.base_dir)
    course = losses(world, job)
    assert course[6] < course[1] - 0.1
    before, after = load_file(world.base_dir / "model.safetensors"), weights(result)
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}
    assert str(world.base_dir) not in (folder / "config.json").read_text()
    AutoModelForCausalLM.from_pretrained(folder)


def test_a_warm_up_of_all_weights_that_is_taken_up_ends_with_the_same_bytes(world: Any) -> None:
    first = world.warmup(**STEPS)
    whole = run_warmup(world.context(first))
    saved = next(event for event in world.events(first) if isinstance(event, CheckpointEvent))
    assert saved.step == 3
    point = ResumePoint(attempt=1, step=3, folder=saved.path, manifest_sha256=saved.manifest_sha256)
    again = world.warmup(**STEPS).model_copy(update={"attempt": 2, "resume_points": [point]})
    resumed = run_warmup(world.context(again))
    assert steps_of(world, again) == [4, 5, 6]
    assert resumed.sha256 == whole.sha256


def test_another_job_goes_on_from_a_checkpoint_of_all_weights_as_it_would_have_itself(world: Any) -> None:
    other = trained_before(world)
    whole = run_warmup(world.context(other))
    job = world.warmup(**STEPS).model_copy(update={"branch_point": branch_point(world, other, 3)})
    assert run_warmup(world.context(job)).sha256 == whole.sha256
    assert steps_of(world, job) == [4, 5, 6]


def test_a_job_that_had_made_its_last_step_gives_the_weights_of_its_last_checkpoint(world: Any) -> None:
    other = trained_before(world)
    whole = run_warmup(world.context(other))
    job = world.warmup(**STEPS)
    point = ResumePoint(**branch_point(world, other, 6).model_dump(exclude={"job_id"}))
    again = job.model_copy(update={"job_id": OTHER, "attempt": 2, "resume_points": [point]})
    assert run_warmup(world.context(again)).sha256 == whole.sha256
    assert not steps_of(world, again)


@pytest.mark.processes
def test_two_ranks_go_on_with_all_weights_as_one_process_does(world: Any) -> None:
    other = trained_before(world)
    whole = run_warmup(world.context(other))
    job = world.warmup(**STEPS, parallel=TWO).model_copy(update={"branch_point": branch_point(world, other, 3)})
    with two_ranks(job) as ranks:
        assert ranks.wait(120.0) == 0
    expected = losses(world, other)
    assert losses(world, job) == pytest.approx({step: expected[step] for step in (4, 5, 6)}, abs=1e-5)
    [result] = [event for event in world.events(job) if isinstance(event, ResultEvent)]
    validate_full(FullRef(version="tiny@1", path=Path(result.adapter_dir), sha256=result.sha256), base=world.base_dir)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(result)[name], tensor, atol=1e-4, rtol=0.0)
    saved = next(event for event in world.events(job) if isinstance(event, CheckpointEvent))
    verified(ResumePoint(attempt=1, step=6, folder=saved.path, manifest_sha256=saved.manifest_sha256), job=job)


def test_a_model_is_not_filled_in_part_from_a_checkpoint_with_other_tensors(world: Any, tmp_path: Path) -> None:
    model = load_whole(world.base_dir)
    tensors = policy_tensors(model)
    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / MODEL_FILE)
    with pytest.raises(UnfitCheckpointError, match=r"other tensors: model\.norm\.weight"):
        load_weights(model, tmp_path)


def test_passes_are_planned_with_the_gradients_and_moments_of_all_weights(world: Any) -> None:
    job = world.warmup(lora=None, max_steps=1)
    shape = read_shape(world.base_dir)
    assert shape is not None
    with pytest.raises(TrainingMemoryError, match="their gradients"):
        run_warmup(with_room(world.context(job), 20 * shape.parameters))
    row = 100 * (4 * (shape.activations + 2 * 100) + 16 * shape.vocabulary)

    def planned(free: int) -> int | None:
        context = with_room(world.context(job), free)
        return plan_passes(context, rows=4, tokens_of=lambda count: (100 * count, 100 * count, 100))

    assert planned(20 * shape.parameters + 4 * row) is None
    assert planned(20 * shape.parameters + 4 * row - 1) == 2
