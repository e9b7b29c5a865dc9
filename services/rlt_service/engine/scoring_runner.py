"""Score prompts inside vLLM's V1 model runner: logits from a start row on, divided by a temperature.

Leans on the inside of vLLM 0.32: `GPUModelRunner._get_prompt_logprobs_dict`, which computes logits of every prompt
token at temperature 1. The engine proves at its start that this code runs and agrees with vLLM's own
(`self_check.py`). Prompt log-probs leave out LoRA on lm_head (vLLM #51594), so such adapters are refused
(`adapters.py`).
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

# R rows of hidden states whose next token is wanted, H their width, V vocabulary

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from vllm.v1.outputs import LogprobsTensors
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm.v1.worker.gpu_input_batch import CachedRequestState
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from rlt_service.engine.exact_math import exact_math
from rlt_service.engine.output_layer import OutputLayer
from rlt_service.engine.prompt_rows import ScoringParameters, scoring_parameters, target_logprobs, wanted_rows

_ROWS_AT_ONCE = 512  # bounds whole rows of logits in memory: of 50,000 words 100 MB; fewer are slower


@dataclass(slots=True, kw_only=True)
class _Chunk:
    """One request's part of this step: which rows of the batch to score, and where the results go."""

    rows: range
    batch_offset: int
    """Row of the batch that holds position `rows.start`."""
    targets: torch.Tensor
    """Ids whose log-probs are wanted, one for each row."""
    temperature: float
    results: torch.Tensor
    """View of the request's float32 results, one for each row."""


class PromptScoring(GPUModelRunner):
    """Mixin over a V1 model runner: scores requests that carry our parameters, leaves all others to vLLM."""

    scored_positions: int = 0
    """Positions scored by this code since the start: the engine's self-check reads it."""

    def _get_prompt_logprobs_dict(
        self, hidden_states: torch.Tensor, num_scheduled_tokens: dict[str, int]
    ) -> dict[str, LogprobsTensors | None]:
        """Score our requests here and the others upstream; log-probs of ours cover the wanted positions only."""
        ours = {name for name in self.num_prompt_logprobs if self._parameters(name) is not None}
        if not ours:
            return super()._get_prompt_logprobs_dict(hidden_states, num_scheduled_tokens)
        finished, chunks = self._chunks(ours, num_scheduled_tokens)
        self._score(chunks, hidden_states)
        unfinished = {name: self.num_prompt_logprobs[name] for name in ours - finished.keys()}
        self.num_prompt_logprobs = {name: n for name, n in self.num_prompt_logprobs.items() if name not in ours}
        theirs = super()._get_prompt_logprobs_dict(hidden_states, num_scheduled_tokens)
        self.num_prompt_logprobs |= unfinished
        return theirs | finished

    def _parameters(self, name: str) -> ScoringParameters | None:
        sampling = self.requests[name].sampling_params
        return None if sampling is None else scoring_parameters(sampling.extra_args)

    def _chunks(
        self, names: set[str], num_scheduled_tokens: dict[str, int]
    ) -> tuple[dict[str, LogprobsTensors], list[_Chunk]]:
        """Collect the rows of this step; requests whose prompt it completes are named with their results."""
        finished: dict[str, LogprobsTensors] = {}
        chunks: list[_Chunk] = []
        for name in sorted(names & num_scheduled_tokens.keys()):
            request, scheduled = self.requests[name], num_scheduled_tokens[name]
            parameters, prompt = cast("ScoringParameters", self._parameters(name)), request.prompt_token_ids or []
            results = _results_of(request, start=parameters.start, length=len(prompt))
            computed = request.num_computed_tokens
            rows = wanted_rows(computed=computed, scheduled=scheduled, start=parameters.start, length=len(prompt))
            first_row = int(self.query_start_loc.np[self.input_batch.req_id_to_index[name]])
            into = rows.start + 1 - parameters.start
            if rows:
                chunks.append(
                    _Chunk(
                        rows=rows,
                        batch_offset=first_row + rows.start - computed,
                        targets=results.logprob_token_ids[into : into + len(rows), 0],
                        temperature=parameters.temperature,
                        results=results.logprobs[into : into + len(rows), 0],
                    )
                )
            if computed + scheduled >= len(prompt):
                finished[name] = results
                request.in_progress_prompt_logprobs_cpu = None
        return finished, chunks

    def _score(self, chunks: list[_Chunk], hidden_states: torch.Tensor) -> None:
        """Compute logits for the chunks' rows, a bounded number at once, and write the log-probs."""
        if not chunks:
            return
        device = hidden_states.device
        rows_of_chunks = [len(chunk.rows) for chunk in chunks]
        index = torch.cat([torch.arange(c.batch_offset, c.batch_offset + len(c.rows)) for c in chunks]).to(device)
        targets_R = torch.cat([chunk.targets for chunk in chunks]).to(device, torch.int64)
        temperatures_R = torch.tensor([chunk.temperature for chunk in chunks]).repeat_interleave(
            torch.tensor(rows_of_chunks)
        )
        temperatures_R = temperatures_R.to(device)
        scored: list[torch.Tensor] = []
        for rows in _slices(len(index)):
            found_R = self._target_logprobs(
                hidden_states[index[rows]], targets_R=targets_R[rows], temperatures_R=temperatures_R[rows]
            )
            scored.append(found_R.cpu())
        for chunk, values in zip(chunks, torch.cat(scored).split(rows_of_chunks), strict=True):
            chunk.results.copy_(values)
        self.scored_positions += len(index)

    def _target_logprobs(
        self, hidden_RH: torch.Tensor, *, targets_R: torch.Tensor, temperatures_R: torch.Tensor
    ) -> torch.Tensor:
        logits_RV = cast("Any", self.model).compute_logits(hidden_RH)
        return target_logprobs(logits_RV, targets_R=targets_R, temperatures_R=temperatures_R)


def _slices(count: int) -> Iterator[slice]:
    for first in range(0, count, _ROWS_AT_ONCE):
        yield slice(first, first + _ROWS_AT_ONCE)


def _results_of(request: CachedRequestState, *, start: int, length: int) -> LogprobsTensors:
    """Return the request's results so far: NaN where nothing was computed, so that a gap can never pass for a score."""
    results = request.in_progress_prompt_logprobs_cpu
    if results is None:
        wanted = length - start
        targets = torch.tensor((request.prompt_token_ids or [])[start:], dtype=torch.int32)
        results = LogprobsTensors(
            logprob_token_ids=targets[:, None],
            logprobs=torch.full((wanted, 1), torch.nan, dtype=torch.float32),
            selected_token_ranks=torch.zeros(wanted, dtype=torch.int32),
        )
        request.in_progress_prompt_logprobs_cpu = results
    return results


class ScoringCPUModelRunner(PromptScoring, CPUModelRunner):
    """The CPU's model runner with our scoring, by exact products, and with generators that a CPU can rewind."""

    output_layer: OutputLayer | Literal["unknown"] | None = "unknown"
    """None where the model itself must give logits; known since the first score."""

    def _model_forward(self, *args: Any, **kwargs: Any) -> Any:
        # Of the requests in the batch alone: one that waits for its next step keeps its entry.
        scored = [place for place, name in enumerate(self.input_batch.req_ids) if name in self.num_prompt_logprobs]
        with exact_math(scored=scored) if scored else nullcontext():
            return super()._model_forward(*args, **kwargs)

    def _get_prompt_logprobs_dict(self, *args: Any, **kwargs: Any) -> dict[str, LogprobsTensors | None]:
        with exact_math():
            return super()._get_prompt_logprobs_dict(*args, **kwargs)

    def _target_logprobs(
        self, hidden_RH: torch.Tensor, *, targets_R: torch.Tensor, temperatures_R: torch.Tensor
    ) -> torch.Tensor:
        if self.output_layer == "unknown":
            self.output_layer = OutputLayer.proven(self.model, hidden_RH)
        if self.output_layer is None:
            return super()._target_logprobs(hidden_RH, targets_R=targets_R, temperatures_R=temperatures_R)
        return self.output_layer.target_logprobs(hidden_RH, targets_R=targets_R, temperatures_R=temperatures_R)

    def _sample(self, *args: Any, **kwargs: Any) -> Any:
        """Let draws that do not count leave no trace in their generators.

        vLLM also samples for a request whose tokens are not all read yet: a prompt in parts, or what was preempted in
        the middle of a generation.
        """
        held = [(generator, generator.get_state()) for generator in self._unfinished().values()]
        sampled = super()._sample(*args, **kwargs)
        for generator, state in held:
            generator.set_state(state)
        return sampled

    def _bookkeeping_sync(self, *args: Any, **kwargs: Any) -> Any:
        """Keep vLLM from taking such a draw back by a generator's offset, which CPU generators do not have."""
        held = self._unfinished()
        for index in held:
            self.input_batch.generators.pop(index)
        try:
            return super()._bookkeeping_sync(*args, **kwargs)
        finally:
            self.input_batch.generators.update(held)

    def _unfinished(self) -> dict[int, torch.Generator]:
        """Find the generators of seeded requests whose draw of this step does not count, by place in the batch."""
        unfinished = self.discard_request_mask.np[: self.input_batch.num_reqs].nonzero()[0].tolist()
        generators = self.input_batch.generators
        return {index: generators[index] for index in unfinished if index in generators}


class ScoringGPUModelRunner(PromptScoring):
    """The GPU's V1 model runner with our scoring."""
