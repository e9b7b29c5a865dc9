"""Scores of prompts whose rows a model computes in steps: which rows of a step to score, where the log-probs go.

Apart from vLLM; `scoring_runner_v2.py` puts it into vLLM's V2 model runner.
"""

# P wanted positions of one prompt, R rows of a step whose next token is wanted, V vocabulary

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from rlt_service.engine.prompt_rows import ScoringParameters, target_logprobs, wanted_rows

_ROWS_AT_ONCE = 256
"""Bounds the logits in memory: with their float32 copy about what vLLM's own 1,024 rows take in half precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPart:
    """What a step computes of one prompt: positions [computed, computed + scheduled), its rows from `first_row` on."""

    name: str
    computed: int
    scheduled: int
    first_row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompt:
    parameters: ScoringParameters
    targets_P: torch.Tensor
    results_P: torch.Tensor
    """NaN where nothing was computed, so that a gap can never pass for a score."""

    @property
    def length(self) -> int:
        return self.parameters.start + len(self.targets_P)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Neighbouring rows of one prompt in this step; `results_R` is a view of the prompt's results."""

    first_row: int
    targets_R: torch.Tensor
    temperature: float
    results_R: torch.Tensor

    @property
    def rows(self) -> int:
        return len(self.targets_R)


class PromptScores:
    """The prompts in hand, each with the log-probs that it has so far."""

    def __init__(self) -> None:
        self._prompts: dict[str, _Prompt] = {}
        self.scored_positions = 0
        """Positions scored since the start: the engine's self-check reads it."""

    def add(self, name: str, *, targets_P: torch.Tensor, parameters: ScoringParameters) -> None:
        """Take a prompt in: its ids from the wanted start on, on the device where the rows will be."""
        self._prompts[name] = _Prompt(
            parameters=parameters,
            targets_P=targets_P,
            results_P=torch.full(targets_P.shape, torch.nan, dtype=torch.float32, device=targets_P.device),
        )

    def remove(self, name: str) -> None:
        """Forget a prompt, if it is in hand."""
        self._prompts.pop(name, None)

    def __contains__(self, name: str) -> bool:
        """Tell whether a prompt is in hand."""
        return name in self._prompts

    def step(
        self,
        parts: Iterable[StepPart],
        *,
        hidden_states: torch.Tensor,
        compute_logits: Callable[[torch.Tensor], torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Score what a step computed of prompts in hand; those that it completes are returned, [P] each, and forgotten.

        Every prompt that ends is returned, also where a cached prefix reached into its wanted positions: those are NaN.
        """
        ours = [(part, self._prompts[part.name]) for part in parts]
        self._score(
            [chunk for part, prompt in ours if (chunk := _wanted(part, prompt)) is not None],
            hidden_states=hidden_states,
            compute_logits=compute_logits,
        )
        return {
            part.name: self._prompts.pop(part.name).results_P
            for part, prompt in ours
            if part.computed + part.scheduled >= prompt.length
        }

    def _score(
        self,
        chunks: list[_Chunk],
        *,
        hidden_states: torch.Tensor,
        compute_logits: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        """Compute logits for the chunks' rows, a bounded number at once, and write the log-probs."""
        if not chunks:
            return
        rows_R = torch.cat(
            [torch.arange(c.first_row, c.first_row + c.rows, device=hidden_states.device) for c in chunks]
        )
        targets_R = torch.cat([chunk.targets_R for chunk in chunks])
        temperatures_R = torch.cat([torch.full_like(chunk.results_R, chunk.temperature) for chunk in chunks])
        logprobs_R = torch.empty_like(temperatures_R)
        for first in range(0, len(rows_R), _ROWS_AT_ONCE):
            now = slice(first, first + _ROWS_AT_ONCE)
            logits_RV = compute_logits(hidden_states[rows_R[now]])
            logprobs_R[now] = target_logprobs(logits_RV, targets_R=targets_R[now], temperatures_R=temperatures_R[now])
        read = 0
        for chunk in chunks:
            chunk.results_R.copy_(logprobs_R[read : read + chunk.rows])
            read += chunk.rows
        self.scored_positions += read


def _wanted(part: StepPart, prompt: _Prompt) -> _Chunk | None:
    """Pick the rows of a step that predict wanted positions; None where there is none."""
    start = prompt.parameters.start
    rows = wanted_rows(computed=part.computed, scheduled=part.scheduled, start=start, length=prompt.length)
    if not rows:
        return None
    into = rows.start + 1 - start
    return _Chunk(
        first_row=part.first_row + rows.start - part.computed,
        targets_R=prompt.targets_P[into : into + len(rows)],
        temperature=prompt.parameters.temperature,
        results_R=prompt.results_P[into : into + len(rows)],
    )
