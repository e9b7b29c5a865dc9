"""Own what is ours in GRPO: shared beginnings computed once, and the sampler's own log-probs as the old policy.

Leans on the inside of TRL 1.16.0's GRPOTrainer (`_get_per_token_logps_and_entropies`, `_prepare_inputs`,
`_generate_and_score_completions`, `_compute_loss`, `_get_train_sampler`). Its importance correction only runs with a
vLLM of its own (`use_vllm`). Here, by default, the ratio is taken against what the engine said when it sampled, so a
difference between engine and trainer is corrected and clipped like any other; with
`vllm_importance_sampling_correction` the old policy is the trainer's, as in TRL, and TRL's own line of the loss
multiplies by the weights of `importance.py`. Those need no pass of their own: generation and optimizer steps are
aligned, so the old policy is the one that the loss computes anyway. `logprob_gap_*` and `importance_*` measure the
difference at every step: they are the proof that ids, prompt, adapter and temperature are the same on both sides.
"""

# B completions of a micro-batch, C longest completion (right-padded), P longest prompt (left-padded).

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from rlt_core.errors import ConfigurationError
from rlt_train.data_order import InGroups
from rlt_train.divergence import StopsWhenDiverging
from rlt_train.importance import Mismatch, importance_weights
from rlt_train.lifeline import StopFlag
from rlt_train.models import Policy, trained_model
from rlt_train.reference import MovingAdapter, MovingModel, MovingReference
from rlt_train.resuming import FromOurCheckpoints
from rlt_train.selection import Choice
from rlt_train.smaller_passes import SmallerPasses
from rlt_train.together import alone, check_stop, of_all
from rlt_train.token_tree import build_tree, can_share_beginnings, tree_logprobs
from rlt_train.trl_grpo import GRPOTrainer, split_tensor_dict

PASS_TOKENS = 4096
"""Longest pass over rows of one prompt: beyond, the mask of all pairs and the logits cost more than is saved."""


class RltGrpoTrainer(SmallerPasses, StopsWhenDiverging, FromOurCheckpoints, GRPOTrainer):
    """TRL's GRPO on rollouts from a service. Several ranks share out each step's rollouts."""

    def __init__(self, *args: Any, stop: StopFlag, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stop = stop
        # Where weights lie in parts, each pass gathers them: all ranks take equally many, one a micro-batch.
        self._in_parts = bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)
        self._shares = not self._in_parts and can_share_beginnings(self.policy.config)
        self._mismatch = Mismatch()
        self._mismatch_noted = Mismatch()
        self._generation: int | None = None
        self._made_up = 1.0
        self._loss_inputs: dict[str, Any] | None = None
        self.moving_reference: MovingReference | None = None
        self.selection: Choice | None = None

    @property
    def policy(self) -> Policy:
        """The model with the adapter that is trained, or the whole model."""
        return trained_model(self)

    def take_mismatch(self) -> dict[str, float]:
        """Give how far trainer and engine were apart over the step's tokens, those of all ranks, and start anew."""
        whole = Mismatch.of_parts(of_all([self._mismatch]))
        self._mismatch = Mismatch()
        return whole.metrics()

    def step_kl(self) -> float | None:
        """Give the mean over the step's micro-batches; TRL forgets them with its log of the step."""
        found = self._metrics["train"]["kl"]
        return sum(found) / len(found) if found else None

    def move_reference(self, *, every: int, mix: float) -> None:
        """Let the reference of the KL penalty follow the policy; ConfigurationError where there is none."""
        policy = self.policy
        if isinstance(policy, PeftModel):
            self.moving_reference = MovingAdapter(policy, every=every, mix=mix)
        elif self.ref_model is None:
            raise ConfigurationError("there is no reference to move: TRL makes one where beta is above 0")
        else:
            reference: Any = self.accelerator.unwrap_model(self.ref_model)
            self.moving_reference = MovingModel(policy, reference, every=every, mix=mix)
        self.add_callback(self.moving_reference)

    def select_by(self, selection: Choice) -> None:
        """Let the result be chosen by held-out questions."""
        self.selection = selection
        self.add_callback(selection)

    def has_ended(self) -> bool:
        """Tell whether the choice among policies has ended training early."""
        return self.selection is not None and self.selection.is_over

    def extra_states(self) -> dict[str, Any]:
        """Give what a checkpoint must hold beside every trainer's states: a reference that has moved, a best policy."""
        parts = {"reference": self.moving_reference, "selection": self.selection}
        return super().extra_states() | {name: part.state() for name, part in parts.items() if part is not None}

    def load_extra_states(self, states: dict[str, Any]) -> None:
        """Take up what `extra_states` gave."""
        super().load_extra_states(states)
        if self.moving_reference is not None and not (self.branches and "reference" not in states):
            self.moving_reference.restore(states["reference"])
        # Which policy was best, another job knows by its own reward and students.
        if self.selection is not None and not self.branches:
            self.selection.restore(states["selection"])

    def _get_train_sampler(self, dataset: Any = None) -> InGroups:
        arguments: Any = self.args
        rows: Any = dataset or self.train_dataset
        samples: int = arguments.num_generations
        return InGroups(
            len(rows),
            chunk=arguments.generation_batch_size // samples,
            samples=samples,
            times=self.num_iterations * arguments.steps_per_generation,
            seed=arguments.seed,
        )

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        # TRL shuffles rows before it cuts micro-batches; kept in order, rows of one prompt stay next to one another.
        if not self.policy.training:
            return super()._prepare_inputs(generation_batch)
        arguments: Any = self.args
        generation, step = divmod(self._step, arguments.steps_per_generation)
        if self._generation != generation or self._buffered_inputs is None:
            whole = self._generate_and_score_completions(generation_batch)
            parts: list[Any] = split_tensor_dict(whole, arguments.steps_per_generation)
            # TRL pads the mask of rows that fill up with 1, so that the other one is needed too.
            masks = [part["tool_mask"] * part["completion_mask"] for part in parts if "tool_mask" in part]
            self._buffered_inputs = parts
            kept = of_all([mask.bool().any(-1, keepdim=True).cpu() for mask in masks])
            self._made_up = made_up_for(kept, loss_type=self.loss_type)
            self._generation = generation
        return self._buffered_inputs[step]

    def may_repeat(self) -> bool:
        """Tell whether the rollouts of this micro-batch are there: repeated, their collection would ask for others.

        Ranks that took a micro-batch again would wait for each other.
        """
        if self.accelerator.num_processes > 1:
            return False
        arguments: Any = self.args
        return not torch.is_grad_enabled() or self._generation == self._step // arguments.steps_per_generation

    def note_metrics(self) -> None:
        """Remember how far the metrics of the step have come, those of the mismatch too."""
        super().note_metrics()
        self._mismatch_noted = replace(self._mismatch)

    def forget_metrics(self) -> None:
        """Drop what was added since."""
        super().forget_metrics()
        self._mismatch = replace(self._mismatch_noted)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        batch = super()._generate_and_score_completions(inputs)
        if not self.vllm_importance_sampling_correction:
            batch["old_per_token_logps"] = batch["sampling_per_token_logps"]
        return batch

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        check_stop(self._stop)
        self._loss_inputs = inputs
        self.note_metrics()  # after those of the rollouts, which are not collected again
        # What TRL asks before it multiplies by `importance_sampling_ratio`; nothing else in its loss asks it.
        self.use_vllm = self.vllm_importance_sampling_correction
        try:
            return super()._compute_loss(model, inputs) * self._made_up
        finally:
            self.use_vllm = False
            self._loss_inputs = None

    def _compare_with_engine(self, inputs: dict[str, Any], trainer_BC: Tensor) -> None:
        engine_BC, mask_BC = inputs["sampling_per_token_logps"], inputs["completion_mask"]
        if "tool_mask" in inputs:  # rollouts that were left out
            mask_BC = mask_BC * inputs["tool_mask"]
        self._mismatch.add(trainer_BC, engine_BC, mask_BC)
        if self.vllm_importance_sampling_correction:
            cap: Any = self.vllm_importance_sampling_clip_max
            mode: Any = self.vllm_importance_sampling_mode
            weights = importance_weights(trainer_BC, engine_BC, mask_BC, mode=mode, cap=cap)
            self._mismatch.add_weights(weights, mask_BC, cap=cap)
            inputs["importance_sampling_ratio"] = weights

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        def compute() -> list[tuple[Tensor, Tensor | None]]:
            return self._in_passes(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, kwargs
            )

        # What has no gradient leaves nothing behind, and can be repeated on its own; the rest is by the training step.
        parts = compute() if torch.is_grad_enabled() else self.until_it_fits(compute)
        logprobs_BC = torch.cat([logprobs for logprobs, _ in parts])
        if not compute_entropy:
            return logprobs_BC, None, None
        if self._loss_inputs is not None:
            self._compare_with_engine(self._loss_inputs, logprobs_BC)
        return logprobs_BC, torch.cat([entropies for _, entropies in parts if entropies is not None]), None

    def _in_passes(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None,
        compute_entropy: bool,
        more: dict[str, Any],
    ) -> list[tuple[Tensor, Tensor | None]]:
        prompt_width = input_ids.shape[1] - logits_to_keep
        sizes = [
            (int(prompt), int(completion))
            for prompt, completion in zip(
                attention_mask[:, :prompt_width].sum(1), attention_mask[:, prompt_width:].sum(1), strict=True
            )
        ]
        plainly = super()._get_per_token_logps_and_entropies
        parts: list[tuple[Tensor, Tensor | None]] = []
        cut = forward_passes(input_ids[:, :prompt_width].tolist(), sizes, most_rows=self.pass_rows)
        for rows in [slice(0, len(sizes))] if self._in_parts else cut:
            if alone():
                self._stop.check()
            ids, mask = input_ids[rows], attention_mask[rows]
            if self._shares and sum(sizes[rows.start]) <= PASS_TOKENS:
                parts.append(self.one_pass(partial(self._as_tree, model, ids, mask, prompt_width=prompt_width)))
            else:
                found = self.one_pass(
                    partial(plainly, model, ids, mask, logits_to_keep, batch_size, compute_entropy, **more)
                )
                parts.append(found[:2])
        return parts

    def _as_tree(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, *, prompt_width: int
    ) -> tuple[Tensor, Tensor]:
        kept = attention_mask.bool()
        completion_mask = kept[:, prompt_width:]
        rows = [
            (ids[:prompt_width][mask[:prompt_width]].tolist(), ids[prompt_width:][mask[prompt_width:]].tolist())
            for ids, mask in zip(input_ids, kept, strict=True)
        ]
        tree = build_tree(rows, device=input_ids.device)
        logprobs_C, entropies_C = tree_logprobs(model, tree, temperature=self.temperature)
        empty = torch.zeros(completion_mask.shape, device=input_ids.device, dtype=logprobs_C.dtype)
        return empty.masked_scatter(completion_mask, logprobs_C), empty.masked_scatter(completion_mask, entropies_C)


def made_up_for(masks: Sequence[Tensor], *, loss_type: str) -> float:
    """Give the factor that makes a step's loss that of its rollouts which are left, by the masks of its micro-batches.

    TRL counts a rollout that is all masked as one of loss 0 where it averages over rows (`grpo`, `dr_grpo`) and, of a
    micro-batch in which nothing is left, over micro-batches (`bnpo`); `dapo` averages over the tokens that are left.
    Without masks nothing was left out.
    """
    if loss_type == "dapo" or not masks:
        return 1.0
    kept = [int(mask.bool().any(-1).sum()) for mask in masks]
    if loss_type == "bnpo":
        return len(kept) / sum(rows > 0 for rows in kept)
    return sum(len(mask) for mask in masks) / sum(kept)


def forward_passes(
    prompts: Sequence[object], sizes: Sequence[tuple[int, int]], *, most_rows: int | None = None
) -> list[slice]:
    """Cut rows, given as padded prompts and sizes of (prompt, completion) in tokens, into forward passes.

    A pass holds neighbours of one prompt, at most `most_rows`, up to PASS_TOKENS with the prompt counted once.
    (Several prompts share their instruction only: joined, they took as long as apart.)
    """
    passes: list[slice] = []
    start, tokens = 0, 0
    for row, (prompt_tokens, completion_tokens) in enumerate(sizes):
        full = tokens + completion_tokens > PASS_TOKENS or row - start == most_rows
        if row > start and (prompts[row] != prompts[start] or full):
            passes.append(slice(start, row))
            start = row
        tokens = completion_tokens + (prompt_tokens if row == start else tokens)
    return [*passes, slice(start, len(sizes))]
