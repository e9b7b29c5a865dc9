"""The choice of a warm-up's result by its loss on the `select` rows."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlt_core.model_shape import read_shape
from rlt_core.schemas.trainer import CheckpointEvent, LogEvent, ProgressEvent, ResultEvent, TrainerJob
from rlt_train.data import load_splits, warmup_examples
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.models import load_whole
from rlt_train.pass_plan import plan_passes
from rlt_train.sft import RltSftTrainer
from rlt_train.warmup import run_warmup
from tests.train.on_tiny_model.test_full_warmup import steps_of
from tests.train.on_tiny_model.test_pass_plan import with_room
from tests.train.on_tiny_model.test_resume import KilledError, kill_when, next_attempt
from tests.train.on_tiny_model.test_two_ranks import TWO, losses, two_ranks

pytestmark = pytest.mark.training

SPEC: dict[str, Any] = {"max_steps": 6, "epochs": 100.0, "learning_rate": 0.02, "save_every": 2}
SPEC |= {"eval_every": 1, "splits": {"select": 0.25}}
WORTH = (3.0, 2.0, 2.5, 2.5, 2.5, 4.0)
"""What the loss after each step is said to be."""
ALL = [{"lora": {"rank": 4, "alpha": 8.0}}, {"lora": None}]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let losses on held-out rows be what WORTH says."""

    def held_out_loss(trainer: Any, _: object) -> float:
        return WORTH[trainer.state.global_step - 1]

    monkeypatch.setattr(RltSftTrainer, "held_out_loss", held_out_loss)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.rglob("*model.safetensors")))


def of_step(job: TrainerJob, step: int) -> dict[str, torch.Tensor]:
    return weights(Path(job.attempt_dir) / "checkpoints" / f"step-{step}")


def said(world: Any, job: TrainerJob) -> str:
    return "\n".join(event.message for event in world.events(job) if isinstance(event, LogEvent))


def select_losses(world: Any, job: TrainerJob) -> dict[int, float]:
    found = [event for event in world.events(job) if isinstance(event, ProgressEvent)]
    return {event.step: event.metrics["select_loss"] for event in found if "select_loss" in event.metrics}


def tokens(world: Any, job: TrainerJob) -> list[float]:
    found = [event.metrics for event in world.events(job) if isinstance(event, ProgressEvent)]
    return [metrics["train_s"] * metrics["tokens_per_s"] for metrics in found]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("more", ALL)
def test_the_result_is_what_had_the_least_loss(world: Any, more: dict[str, Any]) -> None:
    job = world.warmup(**SPEC | more)
    result = run_warmup(world.context(job))
    made, best, last = weights(Path(result.adapter_dir)), of_step(job, 2), of_step(job, 6)
    assert made.keys() == best.keys()
    assert all(torch.equal(made[name], best[name]) for name in best)
    assert not all(torch.equal(made[name], last[name]) for name in last)
    assert select_losses(world, job) == pytest.approx(dict(enumerate(WORTH, start=1)))
    assert "the result is the policy of step 2, whose loss on 2 select questions was the best: 2.0000" in said(
        world, job
    )
    assert result.cost["select_s"] >= 0.0


@pytest.mark.usefixtures("told")
def test_training_ends_early_where_no_loss_is_less(world: Any) -> None:
    job = world.warmup(**SPEC | {"patience": 2, "save_every": 0})
    assert run_warmup(world.context(job)).steps == 4
    assert "stops early after step 4" in said(world, job)
    assert [event.step for event in world.events(job) if isinstance(event, CheckpointEvent)] == [4]


def test_a_step_tells_its_seconds_and_its_tokens_a_second(world: Any) -> None:
    job = world.warmup(batch_size=8, max_steps=1)
    run_warmup(world.context(job))
    examples = warmup_examples(load_splits(job).train, role="teacher", codec=world.codec, max_tokens=2048)
    assert tokens(world, job) == [pytest.approx(sum(len(example.token_ids) for example in examples))]


def test_the_loss_is_that_of_the_traces_of_rows_that_are_not_trained_on(world: Any) -> None:
    job = world.warmup(**SPEC | {"lora": None, "max_steps": 1, "learning_rate": 1e-12})
    run_warmup(world.context(job))
    parts = load_splits(job)
    assert {row.question for row in parts.train}.isdisjoint({row.question for row in parts.select})
    total, count = 0.0, 0
    model: Any = load_whole(world.base_dir).eval()
    for example in warmup_examples(parts.select, role="teacher", codec=world.codec, max_tokens=2048):
        logprobs = torch.log_softmax(model(torch.tensor([example.token_ids])).logits[0].float(), -1)
        for place, label in enumerate(example.labels):
            if label >= 0:
                total -= logprobs[place - 1, label].item()
                count += 1
    assert select_losses(world, job) == {1: pytest.approx(total / count, abs=1e-4)}


def test_measuring_changes_nothing_of_what_is_trained(world: Any) -> None:
    looking, blind = world.warmup(**SPEC), world.warmup(**SPEC | {"eval_every": 0})
    run_warmup(world.context(looking))
    run_warmup(world.context(blind))
    assert losses(world, looking) == losses(world, blind)
    one, other = of_step(looking, 6), of_step(blind, 6)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("more", ALL)
@pytest.mark.parametrize("killed_at", [3, 6])
def test_a_killed_run_remembers_its_best_weights(world: Any, more: dict[str, Any], killed_at: int) -> None:
    expected = run_warmup(world.context(world.warmup(**SPEC | more)))
    killed = world.warmup(**SPEC | more)
    context = world.context(killed)
    what = CheckpointEvent if killed_at == 6 else ProgressEvent
    kill_when(context, lambda event: isinstance(event, what) and event.step == killed_at)
    with pytest.raises(KilledError):
        run_warmup(context)
    again = next_attempt(world, [killed], world.warmup(**SPEC | more))
    assert run_warmup(world.context(again)).sha256 == expected.sha256
    assert steps_of(world, again) == ([] if killed_at == 6 else [3, 4, 5, 6])


@pytest.mark.usefixtures("told")
def test_a_run_that_had_ended_early_when_it_was_killed_trains_no_further(world: Any) -> None:
    spec = SPEC | {"patience": 2}
    expected = run_warmup(world.context(world.warmup(**spec)))
    killed = world.warmup(**spec)
    context = world.context(killed)
    kill_when(context, lambda event: isinstance(event, CheckpointEvent) and event.step == 4)
    with pytest.raises(KilledError):
        run_warmup(context)
    again = next_attempt(world, [killed], world.warmup(**spec))
    result = run_warmup(world.context(again))
    assert (result.sha256, result.steps, steps_of(world, again)) == (expected.sha256, 4, [])


@pytest.mark.processes
def test_two_ranks_measure_and_choose_as_one_process_does(world: Any) -> None:
    # A rate so high that the second step makes it worse.
    spec = SPEC | {"learning_rate": 0.3, "max_steps": 2, "schedule": "constant"}
    alone, both = world.warmup(**spec), world.warmup(**spec, parallel=TWO)
    chosen = run_warmup(world.context(alone))
    with two_ranks(both) as ranks:
        assert ranks.wait(120.0) == 0
    expected = select_losses(world, alone)
    assert select_losses(world, both) == pytest.approx(expected, rel=1e-4)
    assert tokens(world, both) == pytest.approx(tokens(world, alone))  # what a rank took is what the other did not
    assert expected[1] < expected[2]
    assert "the result is the policy of step 1" in said(world, both)
    [result] = [event for event in world.events(both) if isinstance(event, ResultEvent)]
    made = weights(Path(result.adapter_dir))
    for name, tensor in weights(Path(chosen.adapter_dir)).items():
        torch.testing.assert_close(made[name], tensor, atol=1e-4, rtol=0.0)


def test_select_rows_that_are_too_long_are_left_out_and_that_is_said(world: Any) -> None:
    lines = [json.loads(line) for line in world.dataset.read_text().splitlines()]
    held_out = world.dataset.with_name("select.jsonl")
    traces = ("short", "long " * 400)
    rows = [
        row | {"question": f"other {row['id']}", "reasoning_trace": trace}
        for row, trace in zip(lines[:2], traces, strict=True)
    ]
    held_out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = world.warmup(**SPEC | {"max_steps": 1, "max_tokens": 600, "splits": {"select": "ds_2"}})
    job = job.model_copy(update={"split_paths": {"select": str(held_out)}})
    run_warmup(world.context(job))
    assert "1 of 2 select rows are longer than 600 tokens: left out" in said(world, job)


def test_passes_are_planned_with_room_for_the_best_weights_so_far(world: Any) -> None:
    shape = read_shape(world.base_dir)
    assert shape is not None
    row = 100 * (4 * (shape.activations + 2 * 100) + 16 * shape.vocabulary)
    job = world.warmup(**SPEC | {"lora": None})

    def planned(free: int) -> int | None:
        context = with_room(world.context(job), free)
        return plan_passes(context, rows=4, tokens_of=lambda count: (100 * count, 100 * count, 100))

    assert planned((20 + 4) * shape.parameters + 4 * row) is None
    assert planned((20 + 4) * shape.parameters + 4 * row - 1) == 2


def test_measuring_without_rows_is_refused(world: Any) -> None:
    with pytest.raises(InvalidTrainingDataError, match="none is held out"):
        run_warmup(world.context(world.warmup(eval_every=1)))
