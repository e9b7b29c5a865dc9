"""Own one step's rollouts of a student: solutions by exactly the policy asked for, their verdicts, and their rewards.

Services are asked in threads; solutions are judged in the caller's, where math-verify's alarm can bound its time.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.evaluate import VerdictRule
from rlt_core.schemas.solve import Solution, SolutionTokens, SolveRequest, SolveResponse
from rlt_core.tokens import SequenceCodec
from rlt_core.verdicts import MathEquality, Question, judge
from rlt_core.verifiable_rewards import VerifiableWeights, reward_solution
from rlt_train.collected import Collected
from rlt_train.dropped import DroppedRollouts, one_by_one
from rlt_train.expecting import expect, expect_tokens
from rlt_train.lifeline import StopFlag
from rlt_train.rollouts import rollout_seed
from rlt_train.services import Services
from rlt_train.side_by_side import equal_parts, side_by_side


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvingPlan:
    """How solutions are sampled and judged; `temperature` is above 0, log-probs are at it."""

    samples: int
    temperature: float
    max_tokens: int
    seed: int
    verdict: VerdictRule
    reward: VerifiableWeights
    format_id: str
    max_dropped: float = 0.0
    """Share of the rollouts that may be left out; with 0, what fails for good is raised as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolutionRollout:
    """One solution as generated, with the verdict on it."""

    row: DatasetRow
    thought: str
    solution: str | None
    """None where it was never closed."""
    tokens: SolutionTokens
    right: bool
    why: str
    """Why it is wrong; empty where it is right."""
    reward: float
    solved_by: str
    """The engine's name: "fake" is a stand-in."""

    @property
    def closed(self) -> bool:
        """Whether the solution came to its end."""
        return self.solution is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Solved:
    """One solution as it came."""

    item: Solution
    tokens: SolutionTokens
    engine: str


class SolutionCollector:
    """Asks for solutions, accepts nothing but what was asked for, and judges them.

    Each row's samples are one request, so that the engine reads their prompt once.
    """

    def __init__(
        self,
        services: Services,
        *,
        codec: SequenceCodec,
        plan: SolvingPlan,
        equal: MathEquality | None,
        stop: StopFlag,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`equal` compares mathematics, where the plan's rule asks for it; `report` hears of what is left out."""
        self._services = services
        self._codec = codec
        self._plan = plan
        self._equal = equal
        self._stop = stop
        self._report = report

    def collect(self, rows: Sequence[DatasetRow], *, version: str, round_number: int) -> Collected[SolutionRollout]:
        """Sample and judge solutions of each row by `version`; `round_number` varies the seed.

        What fails for good is left out: a row's rollouts all, which are one request. Raises RolloutsDroppedError where
        that is more than the plan allows, RolloutMismatchError for an answer that is not what was asked for, and the
        services' own errors where they are away or refuse the caller.
        """
        began_s = time.monotonic()
        allowed = math.floor(self._plan.max_dropped * len(rows) * self._plan.samples)
        dropped = DroppedRollouts(allowed=allowed, report=self._report)
        at_once = self._services.calls_at_once
        works = [
            partial(self._solved, part, version=version, round_number=round_number, dropped=dropped)
            for part in equal_parts(rows, at_most=at_once)
        ]
        found = [group for part in side_by_side(works, at_once=at_once, stop=self._stop) for group in part]
        solved_s = time.monotonic()
        rollouts = tuple(self._judged(row, one) for row, group in zip(rows, found, strict=True) for one in group)
        if rows and not rollouts:
            raise dropped.too_many("nothing is left to train on")
        return Collected(
            rollouts=rollouts,
            asked=tuple(str(row.id) for row in rows),
            dropped=len(rows) * self._plan.samples - len(rollouts),
            explain_s=solved_s - began_s,
            score_s=time.monotonic() - solved_s,
        )

    def _solved(
        self, rows: Sequence[DatasetRow], *, version: str, round_number: int, dropped: DroppedRollouts
    ) -> list[list[_Solved]]:
        """Sample solutions of each row; none for a row whose generation failed for good."""
        requests = [self._request(row, version=version, round_number=round_number) for row in rows]

        def ask(asked: Sequence[SolveRequest]) -> list[list[_Solved]]:
            answers = self._services.solve(asked)
            expect(len(answers), len(asked), what="the number of solution lists")
            return [self._checked(answer, request) for answer, request in zip(answers, asked, strict=True)]

        found = one_by_one(requests, ask=ask)
        return [
            dropped.without(group, row=row, size=self._plan.samples) for row, group in zip(rows, found, strict=True)
        ]

    def _request(self, row: DatasetRow, *, version: str, round_number: int) -> SolveRequest:
        plan = self._plan
        return SolveRequest(
            question=row.question,
            student=version,
            n=plan.samples,
            temperature=plan.temperature,
            max_tokens=plan.max_tokens,
            seed=rollout_seed(plan.seed, round_number, row.question),
            include=["tokens"],
        )

    def _checked(self, answer: SolveResponse, request: SolveRequest) -> list[_Solved]:
        expect(answer.student.version, request.student, what="a solution's student")
        expect(answer.format, self._plan.format_id, what="a solution's format")
        expect([item.index for item in answer.solutions], list(range(request.n)), what="the solutions")
        prompt = self._codec.student_prompt(question=request.question).token_ids
        at, engine = self._plan.temperature, answer.engine.name
        return [
            _Solved(
                item=item,
                tokens=expect_tokens(item.generated, prompt=prompt, temperature=at, of="a solution"),
                engine=engine,
            )
            for item in answer.solutions
        ]

    def _judged(self, row: DatasetRow, solved: _Solved) -> SolutionRollout:
        """Judge a solution; that its row's answer can be compared with was seen before training began."""
        self._stop.check()
        solution = solved.item.solution
        asked = Question(answer=row.answer, metadata=row.metadata)
        found = judge(solution, question=asked, rule=self._plan.verdict, equal=self._equal)
        worth = reward_solution(right=found.right, closed=solution is not None, weights=self._plan.reward)
        return SolutionRollout(
            row=row,
            thought=solved.item.thought,
            solution=solution,
            tokens=solved.tokens,
            right=found.right,
            why=found.why,
            reward=worth.reward,
            solved_by=solved.engine,
        )
