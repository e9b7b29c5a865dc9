"""The `rlvr` kind on the tiny model: its own answers are judged, and what is right becomes likelier."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlt_core.answer_texts import FoundAnswer
from rlt_core.errors import ConfigurationError
from rlt_core.schemas.base import EngineRef, VersionRef, now_utc
from rlt_core.schemas.explain import ExplainUsage
from rlt_core.schemas.solve import Solution, SolutionTokens, SolveRequest, SolveResponse
from rlt_core.schemas.trainer import EvaluationEvent, ProgressEvent, SolvedEvent, TrainerJob
from rlt_tokens import TokenizerCodec
from rlt_train.errors import InvalidTrainingDataError, RolloutMismatchError
from rlt_train.rlvr import run_rlvr
from tests.train.on_tiny_model.conftest import STUDENT, WANTED, FakeServices, sample
from tests.train.on_tiny_model.test_resume import (
    KilledError,
    assert_same,
    kill_when,
    last_states,
    next_attempt,
)

pytestmark = pytest.mark.training

SMALL = {"kind": "rlvr", "verdict": "exact", "steps": 2, "questions_per_step": 2, "samples_per_question": 4}
SMALL |= {"max_tokens": 8, "learning_rate": 0.01}


@dataclass
class SolvingServices(FakeServices):
    """Solves with exactly the published adapters; the first token says whether it is right, the second whether closed.

    A solution is right where the first id is below WANTED, and never closed where the second is a multiple of 4.
    """

    solved: list[SolveRequest] = field(default_factory=list[SolveRequest])
    given: list[SolveResponse] = field(default_factory=list[SolveResponse])
    always: bool | None = None
    """Null: as the tokens say; else all are closed, and right or wrong."""
    stamp: str | None = None
    """What an answer says it is by, where that is not who was asked."""

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        self.solved += requests
        answers = [self._solve(request) for request in requests]
        self.given += answers
        return answers

    def _solve(self, request: SolveRequest) -> SolveResponse:
        prompt = self.codec.student_prompt(question=request.question).token_ids
        if request.student not in self.models:
            self.models[request.student] = self.model(request.student)
        torch.manual_seed(request.seed or 0)
        model = self.models[request.student]
        made = sample(model, prompt, n=request.n, temperature=request.temperature, length=request.max_tokens)
        solutions = [
            self._solution(index, request, list(prompt), ids[: len(ids) - index % 3], logprobs[: len(ids) - index % 3])
            for index, (ids, logprobs) in enumerate(made)
        ]
        return SolveResponse(
            id="sol_1",
            created_at=now_utc(),
            student=VersionRef(version=self.stamp or request.student),
            format=self.codec.format_id,
            engine=EngineRef(name="fake", version="1"),
            solutions=solutions,
            usage=ExplainUsage(prompt_tokens=1, completion_tokens=1),
        )

    def _solution(
        self, index: int, request: SolveRequest, prompt: list[int], ids: list[int], logprobs: list[float]
    ) -> Solution:
        right = ids[0] < WANTED if self.always is None else self.always
        closed = self.always is not None or ids[1] % 4 != 0
        number = int(request.question.split()[0]) + (1 if right else 2)
        return Solution(
            index=index,
            thought="so",
            solution=f"The answer is {number}." if closed else None,
            finish_reason="stop",
            tokens=len(ids),
            generated=SolutionTokens(
                prompt_token_ids=prompt,
                completion_token_ids=ids,
                completion_logprobs=logprobs,
                temperature=request.temperature,
            ),
        )


@pytest.fixture
def answered(tmp_path: Path) -> Path:
    path = tmp_path / "answered.jsonl"
    rows = [{"id": f"r{n}", "question": f"{n} + 1?", "solution": "s", "answer": str(n + 1)} for n in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@dataclass
class Lesson:
    world: Any
    codec: TokenizerCodec
    rows: Path

    def job(self, spec: dict[str, Any] | None = None, **more: Any) -> TrainerJob:
        return self.world.job(SMALL | (spec or {}), dataset_path=str(self.rows), **more)

    def run(self, job: TrainerJob, **options: Any) -> tuple[Any, SolvingServices]:
        services = SolvingServices(job=job, codec=self.codec, **options)
        return run_rlvr(self.world.context(job, services)), services

    def progress(self, job: TrainerJob) -> list[dict[str, float]]:
        return [event.metrics for event in self.world.events(job) if isinstance(event, ProgressEvent)]


@pytest.fixture
def lesson(world: Any, codec: TokenizerCodec, answered: Path) -> Lesson:
    return Lesson(world=world, codec=codec, rows=answered)


def plain_reward(solution: Solution) -> float:
    """Transcribe the reward: 1 where right, -1 where there is no end; by what the fake wrote, not by the verdicts."""
    generated = solution.generated
    assert generated is not None
    first, second = generated.completion_token_ids[:2]
    if second % 4 == 0:
        return -1.0
    return 1.0 if first < WANTED else 0.0


def test_a_run_publishes_each_policy_and_rewards_what_the_one_before_has_right(lesson: Lesson) -> None:
    job = lesson.job({"steps": 3})
    result, services = lesson.run(job)
    asked = [request.student for request in services.solved]
    assert asked == [f"{job.job_id}.1@{step}" for step in (0, 0, 1, 1, 2, 2)]
    assert [step for step, _ in services.published] == [0, 1, 2, 3]
    assert len({sha256 for _, sha256 in services.published}) == 4
    assert (result.sha256, result.parent, result.steps) == (services.published[-1][1], STUDENT, 3)
    for step, metrics in enumerate(lesson.progress(job)):
        told = [one for answer in services.given[2 * step : 2 * step + 2] for one in answer.solutions]
        rewards = [plain_reward(one) for one in told]
        assert metrics["reward"] == pytest.approx(sum(rewards) / 8)
        assert metrics["accuracy"] == pytest.approx(sum(reward == 1.0 for reward in rewards) / 8)
        assert metrics["closed"] == pytest.approx(sum(one.solution is not None for one in told) / 8)
        assert metrics["length"] == pytest.approx(sum(one.tokens for one in told) / 8)
        assert metrics["logprob_gap_max"] < 1e-4  # trainer and sampler speak of the same sequences
        assert metrics["staleness"] == 0.0
        assert {"rollout_s", "score_s", "train_s", "publish_s"} < set(metrics)
    events = lesson.world.events(job)
    assert [event.step for event in events if isinstance(event, SolvedEvent)] == [0, 1, 2]
    assert not any(isinstance(event, EvaluationEvent) for event in events)


def test_what_is_right_becomes_likelier(lesson: Lesson) -> None:
    short = {"samples_per_question": 16, "max_tokens": 4}  # what is judged is most of it
    job = lesson.job({"steps": 10, "learning_rate": 0.05, "beta": 0.0} | short)
    lesson.run(job)
    accuracies = [metrics["accuracy"] for metrics in lesson.progress(job)]
    assert sum(accuracies[-3:]) > sum(accuracies[:3]) + 0.3


@pytest.mark.parametrize("always", [True, None])
def test_groups_that_are_all_right_teach_nothing_and_mixed_ones_do(lesson: Lesson, always: bool | None) -> None:
    job = lesson.job({"steps": 1, "beta": 0.0})
    result, _ = lesson.run(job, always=always)
    began = load_file(Path(job.attempt_dir) / "rollouts" / "0" / "adapter_model.safetensors")
    ended = load_file(Path(result.adapter_dir) / "adapter_model.safetensors")
    assert all(torch.equal(began[name], ended[name]) for name in began) is (always is True)


def test_a_killed_run_ends_with_the_bytes_of_one_that_was_not(lesson: Lesson) -> None:
    spec = {"steps": 4, "save_every": 2}
    whole = lesson.job(spec)
    expected, _ = lesson.run(whole)
    killed = lesson.job(spec)
    services = SolvingServices(job=killed, codec=lesson.codec)
    context = lesson.world.context(killed, services)
    kill_when(context, lambda event: isinstance(event, ProgressEvent) and event.step == 3)
    with pytest.raises(KilledError):
        run_rlvr(context)
    again = next_attempt(lesson.world, [killed], lesson.job(spec))
    result, fresh = lesson.run(again)
    assert result.sha256 == expected.sha256
    assert {request.student for request in fresh.solved} == {f"{again.job_id}.2@3"}  # the third step was replayed
    assert result.cost["replayed_steps"] == 1.0
    assert_same(last_states(again, 4), last_states(whole, 4))


def test_answers_by_another_policy_end_the_job(lesson: Lesson) -> None:
    with pytest.raises(RolloutMismatchError, match="a solution's student"):
        lesson.run(lesson.job(), stamp="job_0123456789abcdef0123.1@9")


@dataclass
class Examined(SolvingServices):
    """Has as many select questions right as `knows` says of the step that answers."""

    knows: dict[int, int] = field(default_factory=dict[int, int])
    looks: dict[str, int] = field(default_factory=dict[str, int])

    def _solve(self, request: SolveRequest) -> SolveResponse:
        if request.n == 1:
            looks = self.looks[request.student] = self.looks.get(request.student, 0) + 1
            self.always = looks <= self.knows[int(request.student.rpartition("@")[2])]
        try:
            return super()._solve(request)
        finally:
            self.always = None


def test_the_result_is_the_policy_that_had_most_select_questions_right(lesson: Lesson) -> None:
    job = lesson.job({"steps": 3, "eval_every": 1, "splits": {"select": 0.25}, "learning_rate": 0.05})
    services = Examined(job=job, codec=lesson.codec, knows={1: 1, 2: 2, 3: 0})
    result = run_rlvr(lesson.world.context(job, services))
    assert [metrics["select_accuracy"] for metrics in lesson.progress(job)] == [0.5, 1.0, 0.0]
    best = load_file(Path(job.attempt_dir) / "rollouts" / "2" / "adapter_model.safetensors")
    made = load_file(Path(result.adapter_dir) / "adapter_model.safetensors")
    assert all(torch.equal(made[name], best[name]) for name in best)
    trained = {request.question for request in services.solved if request.n > 1}
    assert trained.isdisjoint({request.question for request in services.solved if request.n == 1})


def test_solutions_may_be_collected_while_the_step_before_trains(lesson: Lesson) -> None:
    job = lesson.job({"steps": 3, "max_staleness": 1})
    lesson.run(job)
    assert [metrics["staleness"] for metrics in lesson.progress(job)] == [0.0, 1.0, 1.0]


def test_mathematics_is_compared_by_what_is_handed_in_and_never_beside_a_step(lesson: Lesson) -> None:
    compared: list[str] = []

    def equal(*, expected: str, found: FoundAnswer) -> bool:
        compared.append(expected)
        return False

    job = lesson.job({"steps": 1, "verdict": "math_verify"})
    run_rlvr(lesson.world.context(job, SolvingServices(job=job, codec=lesson.codec)), equal=equal)
    assert compared
    ahead = lesson.job({"verdict": "math_verify", "max_staleness": 1})
    with pytest.raises(ConfigurationError, match="max_staleness"):
        run_rlvr(lesson.world.context(ahead), equal=equal)


def test_rows_that_the_rule_cannot_judge_end_the_job_before_anything_is_asked(lesson: Lesson) -> None:
    with pytest.raises(InvalidTrainingDataError, match="has no nums"):
        run_rlvr(lesson.world.context(lesson.job({"verdict": "countdown"})))
    with pytest.raises(ConfigurationError, match="handed to rlvr"):
        run_rlvr(lesson.world.context(lesson.world.rl()))
