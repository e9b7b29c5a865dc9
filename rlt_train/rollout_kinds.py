"""Own what journal, metrics and events make of each kind of rollout: an explanation, or a solution of a student."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from rlt_core.comparison import states_solution
from rlt_core.schemas.base import WireModel
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.score import CompletionTokens, Score
from rlt_core.schemas.solve import SolutionTokens
from rlt_core.schemas.trainer import SampleEvent, SolvedEvent
from rlt_core.statistics import mean
from rlt_train.collected import RewardedRollout, RolloutT
from rlt_train.rollouts import Rollout
from rlt_train.solutions import SolutionRollout

WrittenT_co = TypeVar("WrittenT_co", bound=RewardedRollout, covariant=True)


class JournalLine(Protocol[WrittenT_co]):
    """One rollout as it stands in the journal."""

    row_id: str

    def rollout(self, row: DatasetRow) -> WrittenT_co:
        """Give the rollout back; `row` is that of `row_id`."""
        ...

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Give it as JSON values."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutKind(Generic[RolloutT]):
    """How rollouts of one kind are written down, read back and told of."""

    write: Callable[[RolloutT], JournalLine[RolloutT]]
    read: Callable[[object], JournalLine[RolloutT]]
    """Raises ValidationError for what is no such line."""
    metrics: Callable[[Sequence[RolloutT]], dict[str, float]]
    """Of a step; at least one rollout."""
    sample: Callable[[RolloutT, int], SampleEvent | SolvedEvent]
    """Of a rollout and its step."""


class ExplanationLine(WireModel):
    """An explanation with its score."""

    row_id: str
    text: str
    well_formed: bool
    tokens: CompletionTokens
    score: Score
    scored_by: str

    @classmethod
    def of(cls, rollout: Rollout) -> Self:
        """Write it down."""
        return cls(
            row_id=str(rollout.row.id),
            text=rollout.text,
            well_formed=rollout.well_formed,
            tokens=rollout.tokens,
            score=rollout.score,
            scored_by=rollout.scored_by,
        )

    def rollout(self, row: DatasetRow) -> Rollout:
        """Give it back."""
        return Rollout(
            row=row,
            text=self.text,
            well_formed=self.well_formed,
            tokens=self.tokens,
            score=self.score,
            scored_by=self.scored_by,
        )


class SolutionLine(WireModel):
    """A solution with the verdict on it."""

    row_id: str
    thought: str
    solution: str | None
    tokens: SolutionTokens
    right: bool
    why: str
    reward: float
    solved_by: str

    @classmethod
    def of(cls, rollout: SolutionRollout) -> Self:
        """Write it down."""
        return cls(
            row_id=str(rollout.row.id),
            thought=rollout.thought,
            solution=rollout.solution,
            tokens=rollout.tokens,
            right=rollout.right,
            why=rollout.why,
            reward=rollout.reward,
            solved_by=rollout.solved_by,
        )

    def rollout(self, row: DatasetRow) -> SolutionRollout:
        """Give it back."""
        return SolutionRollout(
            row=row,
            thought=self.thought,
            solution=self.solution,
            tokens=self.tokens,
            right=self.right,
            why=self.why,
            reward=self.reward,
            solved_by=self.solved_by,
        )


def explanation_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Average a step's rewards and their parts."""
    scores = [rollout.score for rollout in rollouts]
    return {
        "reward": mean([score.reward for score in scores]),
        "r_ss": mean([score.r_ss for score in scores]),
        "r_kl": mean([score.r_kl for score in scores]),
        "uplift": mean([score.uplift for score in scores if score.uplift is not None]),
        "solution_min": mean([score.solution.min for score in scores]),
        "kl_mean": mean([score.kl.mean for score in scores if score.kl is not None]),
        "kl_max": mean([score.kl.max for score in scores if score.kl is not None]),
        "closed": mean([float(rollout.well_formed) for rollout in rollouts]),
        "verbatim": mean([float(states_solution(rollout.text, solution=rollout.row.solution)) for rollout in rollouts]),
        "length": mean([float(len(rollout.tokens.completion_token_ids)) for rollout in rollouts]),
    }


def solution_metrics(rollouts: Sequence[SolutionRollout]) -> dict[str, float]:
    """Average rewards, shares of right and of closed solutions, and lengths in tokens."""
    return {
        "reward": mean([rollout.reward for rollout in rollouts]),
        "accuracy": mean([float(rollout.right) for rollout in rollouts]),
        "closed": mean([float(rollout.closed) for rollout in rollouts]),
        "length": mean([float(len(rollout.tokens.completion_token_ids)) for rollout in rollouts]),
    }


def _explained(rollout: Rollout, step: int) -> SampleEvent:
    return SampleEvent(
        step=step,
        question_id=str(rollout.row.id),
        question=rollout.row.question,
        solution=rollout.row.solution,
        text=rollout.text,
        reward=rollout.score.reward,
        r_ss=rollout.score.r_ss,
        r_kl=rollout.score.r_kl,
        well_formed=rollout.well_formed,
    )


def _solved(rollout: SolutionRollout, step: int) -> SolvedEvent:
    return SolvedEvent(
        step=step,
        question_id=str(rollout.row.id),
        question=rollout.row.question,
        answer=rollout.row.answer,
        thought=rollout.thought,
        solution=rollout.solution,
        reward=rollout.reward,
        right=rollout.right,
        why=rollout.why,
    )


EXPLANATIONS: RolloutKind[Rollout] = RolloutKind(
    write=ExplanationLine.of, read=ExplanationLine.model_validate, metrics=explanation_metrics, sample=_explained
)
"""Of `rl`."""
SOLUTIONS: RolloutKind[SolutionRollout] = RolloutKind(
    write=SolutionLine.of, read=SolutionLine.model_validate, metrics=solution_metrics, sample=_solved
)
"""Of `rlvr`."""
