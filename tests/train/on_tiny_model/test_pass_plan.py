"""What a trainer does with the memory that it finds, before it loads a model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlt_core.model_shape import ModelShape, read_shape
from rlt_core.schemas.trainer import LogEvent, ProgressEvent
from rlt_train import sft
from rlt_train.errors import TrainingMemoryError
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.pass_plan import plan_passes, rl_pass
from rlt_train.rl import run_rl
from rlt_train.room import Room
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]


def with_room(context: Any, free: int) -> Any:
    return replace(context, room=lambda: Room(free=free, where="this machine"))


def fixed_bytes(world: Any) -> tuple[ModelShape, int]:
    """Give the tiny base's shape, and what a warm-up's weights, adapter, gradients and moments take."""
    shape = read_shape(world.base_dir)
    assert shape is not None
    # Rank 4: q, k, v, o of width 32 and 16, gate, up, down of 32 and 64, in two layers.
    adapter = 2 * 4 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
    return shape, 4 * shape.parameters + 16 * adapter


def told(world: Any, job: Any) -> list[str]:
    return [event.message for event in world.events(job) if isinstance(event, LogEvent)]


def test_passes_are_as_small_as_the_free_memory_asks_and_that_is_told(world: Any) -> None:
    shape, fixed = fixed_bytes(world)
    row = 100 * (4 * (shape.activations + 2 * 100) + 16 * shape.vocabulary)  # 100 tokens, two layers

    def planned(free: int) -> tuple[int | None, list[str]]:
        job = world.warmup()
        context = with_room(world.context(job), free)
        most = plan_passes(context, rows=8, tokens_of=lambda count: (100 * count, 100 * count, 100))
        return most, told(world, job) if most else []

    assert planned(fixed + 8 * row) == (None, [])
    most, said = planned(fixed + 8 * row - 1)
    assert most == 4
    assert "passes of 8 rows would take about" in said[0]
    assert "passes of at most 4 rows" in said[0]
    assert planned(fixed + row)[0] == 1
    with pytest.raises(
        TrainingMemoryError, match=r"even with one row at a time, this machine has .*: weights .* x 4 B"
    ):
        planned(fixed + row - 1)


def test_gradient_checkpointing_needs_less(world: Any) -> None:
    shape, fixed = fixed_bytes(world)
    least = fixed + 100 * (4 * (shape.recomputed_activations + 100) + 16 * shape.vocabulary)
    context = with_room(world.context(world.warmup(gradient_checkpointing=True)), least)
    assert plan_passes(context, rows=1, tokens_of=lambda count: (100 * count, 100 * count, 100)) is None
    with pytest.raises(TrainingMemoryError):
        plan_passes(
            replace(context, job=world.warmup()), rows=1, tokens_of=lambda count: (100 * count, 100 * count, 100)
        )


def test_training_that_cannot_fit_is_refused_before_the_model_is_loaded(
    world: Any, fake_services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("rlt_train.warmup.load_policy", loaded)
    monkeypatch.setattr("rlt_train.policy_training.load_policy", loaded)
    with pytest.raises(TrainingMemoryError, match="one row at a time") as raised:
        run_warmup(with_room(world.context(world.warmup()), 1000))
    assert (raised.value.code, raised.value.retryable) == ("out_of_memory", False)
    job = world.rl()
    with pytest.raises(TrainingMemoryError, match="one row at a time"):
        run_rl(with_room(world.context(job, fake_services(job)), 1000))


def test_a_job_in_little_memory_trains_all_the_same(world: Any, fake_services: Services) -> None:
    begun: list[int | None] = []

    class Seen(RltGrpoTrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            begun.append(self.pass_rows)
            return super()._compute_loss(model, inputs)

    job = world.rl({"steps": 1})
    context = world.context(job, fake_services(job))
    shape, fixed = fixed_bytes(world)
    tokens = world.longest_prompt() + 2 * 12
    two_rows = tokens * 4 * (shape.activations + 2 * tokens) + 2 * 12 * 16 * shape.vocabulary
    reference = 4 * 4096  # as large as the adapter
    run_rl(with_room(context, fixed + reference + two_rows), trainer_class=Seen)
    assert begun == [2]
    assert [event.step for event in world.events(job) if isinstance(event, ProgressEvent)] == [1]
    assert any("passes of at most 2 rows" in message for message in told(world, job))


def test_a_warm_up_in_little_memory_trains_all_the_same(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plainly = sft._summed_loss

    def watched(model: Any, inputs: Any) -> Any:
        seen.append(len(inputs["labels"]))
        return plainly(model, inputs)

    monkeypatch.setattr(sft, "_summed_loss", watched)
    shape, fixed = fixed_bytes(world)
    tokens = world.longest_prompt() + 60  # and the trace
    row = tokens * (4 * (shape.activations + 2 * tokens) + 16 * shape.vocabulary)
    job = world.warmup(max_steps=1)
    run_warmup(with_room(world.context(job), fixed + row))
    assert set(seen) == {1}
    assert any("passes of at most 1 rows" in message for message in told(world, job))


def test_an_adapter_that_is_continued_counts_as_large_as_it_is(world: Any, tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(bytes(4 * 1_000_000))
    _, fixed = fixed_bytes(world)
    job = world.warmup().model_copy(update={"start_adapter_dir": str(tmp_path)})
    with pytest.raises(TrainingMemoryError, match="1,000,000 x 16 B"):
        plan_passes(with_room(world.context(job), fixed + 10_000_000), rows=1, tokens_of=lambda count: (1, 1, 1))


def test_a_base_of_unknown_shape_is_tried(world: Any, tmp_path: Path) -> None:
    job = world.warmup().model_copy(update={"base_model_dir": str(tmp_path)})
    assert plan_passes(with_room(world.context(job), 0), rows=4, tokens_of=lambda count: (1, 1, 1)) is None


@pytest.mark.parametrize(
    ("rows", "micro_rows", "shares", "tokens", "joined"),
    [
        (8, 8, True, 8 * (12 + 25), 148),  # two prompts of 100, each borne by its four samples
        (2, 2, True, 100 + 2 * 12, 124),  # half a group: its prompt is there whole
        (4, 8, True, 100 + 4 * 12, 148),
        (4, 8, False, 4 * (100 + 12), 112),
        (1, 8, True, 112, 112),
    ],
)
def test_a_pass_of_rl_holds_prompts_as_often_as_it_computes_them(
    world: Any, rows: int, micro_rows: int, shares: bool, tokens: int, joined: int
) -> None:
    spec = world.rl().spec
    found = rl_pass(spec, longest_prompt=100, rows=rows, micro_rows=micro_rows, shares=shares)
    assert found == (tokens, rows * 12, joined)
