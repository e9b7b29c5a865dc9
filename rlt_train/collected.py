"""Own what a step's rollouts are together, whatever kind they are of: rows, tokens as generated, rewards, times."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rlt_core.schemas.datasets import DatasetRow

LEAST_COMPARED = 2
"""Rollouts of a question that an advantage needs: it is a comparison among them."""


class GeneratedTokens(Protocol):
    """Exactly what was generated, with natural log-probs at the sampling temperature, one a completion token."""

    @property
    def prompt_token_ids(self) -> list[int]:
        """What was read."""
        ...

    @property
    def completion_token_ids(self) -> list[int]:
        """What was written."""
        ...

    @property
    def completion_logprobs(self) -> list[float]:
        """One a written token."""
        ...


class RewardedRollout(Protocol):
    """One completion as generated, with its reward."""

    @property
    def row(self) -> DatasetRow:
        """The question."""
        ...

    @property
    def tokens(self) -> GeneratedTokens:
        """What was generated."""
        ...

    @property
    def reward(self) -> float:
        """What it is worth."""
        ...


RolloutT = TypeVar("RolloutT", bound=RewardedRollout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected(Generic[RolloutT]):
    """Rollouts in the order of the rows, and the time that each part took in seconds.

    `samples` for each row, but for those that failed for good.
    """

    rollouts: tuple[RolloutT, ...]
    asked: tuple[str, ...]
    """Ids of the rows that were asked for, in order; one of them may have no rollout left."""
    dropped: int
    """Rollouts that were left out on the way."""
    explain_s: float
    """Until the last completion had come."""
    score_s: float
    """From then on: completions that came before were judged meanwhile."""

    def groups(self) -> list[tuple[RolloutT, ...]]:
        """Give what is left of each row's rollouts, in the order in which rows were asked for."""
        by_row: dict[str, list[RolloutT]] = {row_id: [] for row_id in self.asked}
        for rollout in self.rollouts:
            by_row[str(rollout.row.id)].append(rollout)
        return [tuple(rollouts) for rollouts in by_row.values()]


class Collects(Protocol[RolloutT]):
    """Has a policy answer questions, and the answers judged."""

    def collect(self, rows: Sequence[DatasetRow], *, version: str, round_number: int) -> Collected[RolloutT]:
        """Sample and judge answers to each row by `version`; `round_number` varies the seed."""
        ...
