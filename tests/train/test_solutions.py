"""A collector of solutions takes nothing but what it asked for, judges it by the rule, and never rewards a failure."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from rlt_core.errors import ScoringError
from rlt_core.schemas.base import EngineRef, VersionRef, now_utc
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse, ExplainUsage
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_core.schemas.solve import Solution, SolutionTokens, SolveRequest, SolveResponse
from rlt_core.verifiable_rewards import VerifiableWeights
from rlt_tokens import byte_codec
from rlt_train.errors import RolloutMismatchError, RolloutsDroppedError
from rlt_train.journal import Journal
from rlt_train.lifeline import StopFlag
from rlt_train.rollout_kinds import SOLUTIONS, solution_metrics
from rlt_train.solutions import SolutionCollector, SolutionRollout, SolvingPlan

CODEC = byte_codec()
POLICY = "job_0123456789abcdef0123.1@4"
ROWS = [DatasetRow(id=f"r{n}", question=f"{n} + 1?", solution="s", answer=str(n + 1)) for n in range(3)]
PLAN = SolvingPlan(
    samples=3,
    temperature=0.7,
    max_tokens=16,
    seed=5,
    verdict="exact",
    reward=VerifiableWeights(right=2.0, format_penalty=-0.5),
    format_id=CODEC.format_id,
)
WORTH = [(True, 2.0), (False, 0.0), (False, -0.5)]
"""Of each row's samples: right, wrong, never closed."""


@dataclass
class Students:
    """Solve each question three times: rightly, wrongly, without an end."""

    spoil: Callable[[SolveResponse], SolveResponse] = lambda answer: answer
    failing: str | None = None
    asked: list[SolveRequest] = field(default_factory=list[SolveRequest])
    calls_at_once: int = 1

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        self.asked += requests
        if any(request.question == self.failing for request in requests):
            raise ScoringError("a generation broke")
        return [self.spoil(self._answer(request)) for request in requests]

    def _answer(self, request: SolveRequest) -> SolveResponse:
        prompt = list(CODEC.student_prompt(question=request.question).token_ids)
        right = str(int(request.question.split()[0]) + 1)
        return SolveResponse(
            id="sol_1",
            created_at=now_utc(),
            student=VersionRef(version=request.student),
            format=CODEC.format_id,
            engine=EngineRef(name="fake", version="1"),
            solutions=[
                Solution(
                    index=index,
                    thought="so",
                    solution=solution,
                    finish_reason="stop",
                    tokens=2,
                    generated=SolutionTokens(
                        prompt_token_ids=prompt,
                        completion_token_ids=[70 + index, 71],
                        completion_logprobs=[-0.25, -1.5],
                        temperature=request.temperature,
                    ),
                )
                for index, solution in enumerate([f"The answer is {right}.", "no idea", None][: request.n])
            ],
            usage=ExplainUsage(prompt_tokens=1, completion_tokens=1),
        )

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        raise NotImplementedError

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        raise NotImplementedError

    def publish(self, *, step: int, sha256: str) -> str:
        raise NotImplementedError


def collect(students: Students, *, plan: SolvingPlan = PLAN, said: list[str] | None = None) -> Any:
    report = said.append if said is not None else lambda _: None
    collector = SolutionCollector(students, codec=CODEC, plan=plan, equal=None, stop=StopFlag(), report=report)
    return collector.collect(ROWS, version=POLICY, round_number=4)


@pytest.mark.parametrize("calls_at_once", [1, 2])
def test_each_solution_gets_the_reward_of_its_verdict_in_the_order_of_the_rows(calls_at_once: int) -> None:
    students = Students(calls_at_once=calls_at_once)
    found = collect(students)
    assert [len(group) for group in found.groups()] == [3, 3, 3]
    for row, group in zip(ROWS, found.groups(), strict=True):
        assert [(one.right, one.reward) for one in group] == WORTH
        assert all(one.row is row for one in group)
    assert found.asked == ("r0", "r1", "r2")
    assert found.dropped == 0
    # reward (2 + 0 - 0.5) / 3 = 0.5, one of three is right, two are closed.
    metrics = solution_metrics(found.rollouts)
    assert metrics == pytest.approx({"reward": 0.5, "accuracy": 1 / 3, "closed": 2 / 3, "length": 2.0})
    assert {(one.student, one.n, tuple(one.include)) for one in students.asked} == {(POLICY, 3, ("tokens",))}
    assert len({one.seed for one in students.asked}) == 3


def first_changed(answer: SolveResponse, **update: Any) -> SolveResponse:
    first, *others = answer.solutions
    return answer.model_copy(update={"solutions": [first.model_copy(update=update), *others]})


def tokens_changed(answer: SolveResponse, **update: Any) -> SolveResponse:
    generated = answer.solutions[0].generated
    assert generated is not None
    return first_changed(answer, generated=generated.model_copy(update=update))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda a: a.model_copy(update={"format": "r1@1"}), "a solution's format"),
        (lambda a: a.model_copy(update={"solutions": a.solutions[:2]}), "the solutions"),
        (lambda a: first_changed(a, index=1), "the solutions"),
        (lambda a: first_changed(a, generated=None), "without its token ids"),
        (lambda a: tokens_changed(a, completion_token_ids=[]), "without its token ids"),
        (lambda a: tokens_changed(a, prompt_token_ids=[1, 2]), "the prompt's token ids"),
        (lambda a: tokens_changed(a, temperature=1.0), "the temperature"),
        (lambda a: tokens_changed(a, completion_logprobs=[-0.1]), "the number of log-probs"),
        (lambda a: tokens_changed(a, completion_logprobs=[-0.1, float("nan")]), "not finite"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_ends_the_job(
    spoil: Callable[[SolveResponse], SolveResponse], what: str
) -> None:
    with pytest.raises(RolloutMismatchError, match=what):
        collect(Students(spoil=spoil), plan=replace(PLAN, max_dropped=0.9))


def test_a_solution_by_another_policy_ends_the_job() -> None:
    other = VersionRef(version=f"{POLICY[:-1]}3")
    with pytest.raises(RolloutMismatchError, match="a solution's student"):
        collect(Students(spoil=lambda answer: answer.model_copy(update={"student": other})))


def test_a_question_that_fails_for_good_is_left_out_and_counted_and_gets_no_reward() -> None:
    said: list[str] = []
    found = collect(Students(failing="1 + 1?"), plan=replace(PLAN, max_dropped=0.5), said=said)
    assert [len(group) for group in found.groups()] == [3, 0, 3]
    assert found.dropped == 3
    assert "all 3 rollouts of r1 failed for good" in said[0]
    with pytest.raises(RolloutsDroppedError, match="max_dropped"):
        collect(Students(failing="1 + 1?"), plan=replace(PLAN, max_dropped=0.2))
    with pytest.raises(ScoringError, match="a generation broke"):
        collect(Students(failing="1 + 1?"))


def test_solutions_are_replayed_as_they_were_written(tmp_path: Path) -> None:
    rollouts: tuple[SolutionRollout, ...] = collect(Students()).rollouts
    by_id = {str(row.id): row for row in ROWS}
    folder = tmp_path / "attempt-1" / "journal"
    job = "job_0123456789abcdef0123"
    first = Journal(folder, job_id=job, earlier=[], kind=SOLUTIONS)
    first.write(rollouts, step=4, policy_sha256="5" * 64, asked=("r0", "r1", "r2"))
    again = Journal(tmp_path / "attempt-2" / "journal", job_id=job, earlier=[folder], kind=SOLUTIONS)
    recalled = again.recall(by_id, step=4, policy_sha256="5" * 64)
    assert recalled.rollouts == rollouts
    assert recalled.faults == ()


def test_a_journal_of_another_kind_is_not_replayed(tmp_path: Path) -> None:
    rollouts: tuple[SolutionRollout, ...] = collect(Students()).rollouts
    folder = tmp_path / "attempt-1" / "journal"
    job = "job_0123456789abcdef0123"
    spoilt = replace(SOLUTIONS, write=lambda one: _Renamed(SOLUTIONS.write(one)))
    Journal(folder, job_id=job, earlier=[], kind=spoilt).write(rollouts, step=4, policy_sha256="5" * 64)
    again = Journal(tmp_path / "attempt-2" / "journal", job_id=job, earlier=[folder], kind=SOLUTIONS)
    recalled = again.recall({str(row.id): row for row in ROWS}, step=4, policy_sha256="5" * 64)
    assert recalled.rollouts is None
    assert "another version" in recalled.faults[0]


class _Renamed:
    """A line that calls its reward by another name."""

    def __init__(self, line: Any) -> None:
        self.row_id = line.row_id
        self._line = line

    def rollout(self, row: DatasetRow) -> SolutionRollout:
        return self._line.rollout(row)

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        return json.loads(json.dumps(self._line.model_dump(mode=mode)).replace('"reward"', '"worth"'))
