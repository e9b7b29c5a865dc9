"""A step that does not fit into memory is taken again in smaller passes, and is the same step."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback

from rlt_core.schemas.explain import ExplainResponse
from rlt_core.schemas.trainer import CheckpointEvent, LogEvent, ProgressEvent, ResumePoint
from rlt_train import sft
from rlt_train.__main__ import error_event
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.rl import run_rl
from rlt_train.sft import RltSftTrainer
from rlt_train.smaller_passes import is_out_of_memory
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]
NO_ROOM = "[enforce fail at alloc_cpu.cpp:125] err == 0. DefaultCPUAllocator: can't allocate memory: tried 9 bytes."
# Clipping by the norm would hide the gradient.
STEPS = {"steps": 2, "max_grad_norm": 1e6}
TIMES = {"rollout_s", "score_s", "train_s", "publish_s", "tokens_per_s"}
MOST = 2
"""Rows of a pass that fit."""


def no_room(*_: Any) -> None:
    raise RuntimeError(NO_ROOM)


def keep_gradients(trainer: Any) -> list[dict[str, Tensor]]:
    """Have the trainer keep each step's gradient."""
    kept: list[dict[str, Tensor]] = []

    class Gradients(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            named = trainer.policy.named_parameters()
            kept.append({name: p.grad.clone() for name, p in named if p.grad is not None})

    trainer.add_callback(Gradients())
    return kept


class Watching(RltGrpoTrainer):
    """Keeps gradients, the sizes of passes with which each loss is begun, and how many passes wanted a gradient."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gradients = keep_gradients(self)
        self.begun: list[int | None] = []
        self.computed = 0
        LATEST.append(self)

    def _as_tree(self, model: Any, input_ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.computed += torch.is_grad_enabled()
        return super()._as_tree(model, input_ids, *args, **kwargs)

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        self.begun.append(self.pass_rows)
        return super()._compute_loss(model, inputs)


class FullForward(Watching):
    """Has no room for the activations of more than two rows."""

    most = MOST

    def _as_tree(self, model: Any, input_ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled() and len(input_ids) > self.most and self.is_full():
            no_room()
        return super()._as_tree(model, input_ids, *args, **kwargs)

    def is_full(self) -> bool:
        return True

    def has_begun(self) -> bool:
        """Tell whether an earlier pass of the step has left its gradient."""
        return any(weight.grad is not None for weight in self.policy.parameters())


class FullLater(FullForward):
    """Has no room for them once there are gradients."""

    def is_full(self) -> bool:
        return self.has_begun()


class Hopeless(FullForward):
    """Has no room for a single row."""

    most = 0


class FullBackward(FullForward):
    """Runs out of room deep in the backward pass, when weights of the last layer have their gradient."""

    def is_full(self) -> bool:
        return False

    def _as_tree(self, model: Any, input_ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        def fail_later(_module: Any, _inputs: Any, output: Tensor) -> None:
            if output.requires_grad and len(input_ids) > self.most:
                output.register_hook(lambda _: no_room() if self.has_begun() else None)

        policy: Any = self.policy  # one with an adapter
        base: Any = policy.get_base_model()
        first_layer = base.model.layers[0].register_forward_hook(fail_later)
        try:
            return super()._as_tree(model, input_ids, *args, **kwargs)
        finally:
            first_layer.remove()


class FullReference(Watching):
    """Has no room for the reference's log-probs, which need no gradient, of more than two rows."""

    most = MOST

    def _as_tree(self, model: Any, input_ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled() and len(input_ids) > self.most:
            no_room()
        return super()._as_tree(model, input_ids, *args, **kwargs)


LATEST: list[Watching] = []


def coarse(answer: ExplainResponse) -> ExplainResponse:
    """Answer as an engine that is a little off, more so where a token is unlikely."""
    items = []
    for item in answer.explanations:
        assert item.tokens is not None
        logprobs = [1.02 * logprob for logprob in item.tokens.completion_logprobs]
        tokens = item.tokens.model_copy(update={"completion_logprobs": logprobs})
        items.append(item.model_copy(update={"tokens": tokens}))
    return answer.model_copy(update={"explanations": items})


def run(world: Any, make: Services, trainer_class: Any, **spec: Any) -> tuple[Watching, Any, Any]:
    job = world.rl(STEPS | spec)
    services = make(job)
    services.spoil_explanation = coarse
    run_rl(world.context(job, services), trainer_class=trainer_class)
    return LATEST.pop(), services, job


def metrics(world: Any, job: Any) -> list[dict[str, float]]:
    told = [event.metrics for event in world.events(job) if isinstance(event, ProgressEvent)]
    return [{name: value for name, value in step.items() if name not in TIMES} for step in told]


def warnings(world: Any, job: Any) -> list[str]:
    return [event.message for event in world.events(job) if isinstance(event, LogEvent) and event.level == "warning"]


def apart(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Give the largest difference of two gradients, as a share of the largest gradient."""
    assert found.keys() == wanted.keys()
    largest = max(tensor.abs().max().item() for tensor in wanted.values())
    assert largest > 1e-4
    return max((found[name] - wanted[name]).abs().max().item() for name in wanted) / largest


@pytest.mark.parametrize(
    ("trainer_class", "options"),
    [
        (FullLater, {}),
        (FullBackward, {"loss_type": "bnpo"}),
        (FullBackward, {"loss_type": "dapo", "importance_correction": "token_truncate"}),
    ],
)
def test_a_step_that_did_not_fit_has_the_loss_and_gradient_of_one_that_did(
    world: Any,
    fake_services: Services,
    monkeypatch: pytest.MonkeyPatch,
    trainer_class: type[Watching],
    options: dict[str, Any],
) -> None:
    # Four rows a micro-batch, two micro-batches a step: what the first has added must outlive the second's failure.
    a_row = 12 + math.ceil(world.longest_prompt() / 4)
    monkeypatch.setattr("rlt_core.batching.MICRO_BATCH_TOKENS", 4 * a_row)
    plain, _, plain_job = run(world, fake_services, Watching, **options)
    assert plain.begun == [None] * 4
    small, services, job = run(world, fake_services, trainer_class, **options)
    assert small.pass_rows == MOST
    assert apart(small.gradients[0], plain.gradients[0]) < 1e-6
    assert apart(small.gradients[1], plain.gradients[1]) < 1e-5  # of a policy that was one step apart by as little
    for found, wanted in zip(metrics(world, job), metrics(world, plain_job), strict=True):
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    [said] = warnings(world, job)
    assert "step 1 did not fit into memory ([enforce fail" in said
    assert "passes of at most 2 rows" in said
    assert len(services.explained) == 2 * 2  # once a question and step: no rollout is asked for twice


def test_the_failed_pass_of_a_whole_micro_batch_leaves_no_gradient(world: Any, fake_services: Services) -> None:
    plain, _, _ = run(world, fake_services, Watching, steps=1)
    small, _, job = run(world, fake_services, FullBackward, steps=1)
    assert apart(small.gradients[0], plain.gradients[0]) < 1e-6
    assert len(warnings(world, job)) == 2  # passes of 8 rows, then of 4, then of 2
    assert small.begun == [None, 4, 2]


def test_the_reference_does_not_ask_for_rollouts_again(world: Any, fake_services: Services) -> None:
    plain, _, _ = run(world, fake_services, Watching, steps=1)
    small, services, _ = run(world, fake_services, FullReference, steps=1)
    assert apart(small.gradients[0], plain.gradients[0]) < 1e-6
    assert len(services.explained) == 2
    assert small.begun == [MOST]


def test_what_fails_while_a_step_is_prepared_is_not_prepared_again(world: Any, fake_services: Services) -> None:
    class Full(Watching):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            super()._generate_and_score_completions(inputs)
            no_room()

    job = world.rl(STEPS)
    services = fake_services(job)
    with pytest.raises(RuntimeError, match="can't allocate"):
        run_rl(world.context(job, services), trainer_class=Full)
    assert len(services.explained) == 2
    assert LATEST.pop().pass_rows is None


def test_what_does_not_fit_row_by_row_ends_the_job_as_out_of_memory(
    world: Any, fake_services: Services, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="can't allocate") as raised:
        run(world, fake_services, Hopeless, steps=1)
    assert error_event(raised.value, folder=tmp_path).code == "out_of_memory"
    assert LATEST.pop().pass_rows == 1


def test_any_other_failure_is_not_tried_again(world: Any, fake_services: Services) -> None:
    class Broken(Watching):
        def _as_tree(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        run(world, fake_services, Broken, steps=1)
    assert LATEST.pop().pass_rows is None


def test_a_resume_goes_on_with_passes_as_small_as_they_were(world: Any, fake_services: Services) -> None:
    _, _, job = run(world, fake_services, FullForward, steps=2, save_every=1)
    first = next(event for event in world.events(job) if isinstance(event, CheckpointEvent))
    assert torch.load(Path(first.path) / "state.pt", weights_only=True)["pass_rows"] == MOST
    point = ResumePoint(attempt=1, step=1, folder=first.path, manifest_sha256=first.manifest_sha256)
    again = world.rl(STEPS | {"save_every": 1}, attempt=2, resume_points=[point])
    again = again.model_copy(update={"spec": job.spec, "journal_dirs": [str(Path(job.attempt_dir) / "journal")]})
    run_rl(world.context(again, fake_services(again)), trainer_class=Watching)
    resumed = LATEST.pop()
    assert resumed.begun == [MOST]
    assert resumed.computed == 2 * 4  # two prompts of four rows: each pass once, and once more for its gradient
    ends = [Path(each.attempt_dir) / "adapter" / "adapter_model.safetensors" for each in (job, again)]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_a_run_that_had_room_says_nothing_of_passes_in_its_checkpoints(world: Any, fake_services: Services) -> None:
    _, _, job = run(world, fake_services, Watching, steps=1)
    saved = next(event for event in world.events(job) if isinstance(event, CheckpointEvent))
    assert "pass_rows" not in torch.load(Path(saved.path) / "state.pt", weights_only=True)


def test_a_warm_up_that_did_not_fit_has_the_gradient_of_one_that_did(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[list[dict[str, Tensor]]] = []
    begin, plainly = RltSftTrainer.bound_passes, sft._summed_loss

    def watched(trainer: Any, *args: Any, **kwargs: Any) -> None:
        kept.append(keep_gradients(trainer))
        begin(trainer, *args, **kwargs)

    def narrow(model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        loss, hits = plainly(model, inputs)
        if len(inputs["labels"]) > MOST:
            loss.register_hook(no_room)
        return loss, hits

    monkeypatch.setattr("rlt_core.batching.MICRO_BATCH_TOKENS", 10**6)  # all eight rows in one micro-batch
    monkeypatch.setattr(RltSftTrainer, "bound_passes", watched)
    jobs = [world.warmup(batch_size=8, max_steps=2, max_grad_norm=1e6) for _ in range(2)]
    run_warmup(world.context(jobs[0]))
    monkeypatch.setattr(sft, "_summed_loss", narrow)
    run_warmup(world.context(jobs[1]))
    assert apart(kept[1][0], kept[0][0]) < 1e-6
    plain, small = (metrics(world, job) for job in jobs)
    for found, wanted in zip(small, plain, strict=True):
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert [said[:28] for said in warnings(world, jobs[1])] == ["step 1 did not fit into memo"] * 2


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError(NO_ROOM), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("out of memory."), False),
    ],
)
def test_errors_of_memory_are_told_from_others(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one
