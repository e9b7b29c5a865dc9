"""An engine whose numbers are not those that were asked for: an error every time, never a score."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from rlt_core.errors import ScoringError
from rlt_core.schemas.score import RewardConfig, ScoreInclude, ScoreRequest, ScoreResponse
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import SequenceScoreRequest, SequenceScoreResult
from tests.support.scoring import OneEach, make_scorer

Results = list[SequenceScoreResult]


class Spoilt(FakeEngine):
    """Changes what it found before it hands it out."""

    def __init__(self, spoil: Callable[[Results], Results], *, options: FakeOptions | None = None) -> None:
        super().__init__(options)
        self._spoil = spoil

    async def score(self, requests: Sequence[SequenceScoreRequest]) -> Results:
        return self._spoil(await super().score(requests))


def at(place: int, *values: float) -> Callable[[Results], Results]:
    """Put `values` in place of one log-prob of the first sequence."""

    def spoil(results: Results) -> Results:
        logprobs = results[0].logprobs
        index = place % len(logprobs)
        return [replace(results[0], logprobs=(*logprobs[:index], *values, *logprobs[index + 1 :])), *results[1:]]

    return spoil


def swapped(results: Results) -> Results:
    """Give one sequence's log-probs for the other: as many in all, and each in the wrong place."""
    return [results[1], results[0], *results[2:]]


SPOILT: dict[str, Callable[[Results], Results]] = {
    "the last one missing": at(-1),
    "the first one missing": at(0),
    "one too many": at(-1, -0.1, -0.1),
    "NaN in the solution": at(-1, math.nan),
    "NaN at the first token": at(0, math.nan),
    "minus infinity": at(-1, -math.inf),
    "above 0": at(0, 0.5),
    "a sequence missing": lambda results: results[:-1],
    "a sequence too many": lambda results: [*results, results[-1]],
    "none at all": lambda results: [],
    "of the other sequence": swapped,
}


async def ask(
    *, student: FakeEngine, teacher: FakeEngine | None = None, include: list[ScoreInclude] | None = None
) -> ScoreResponse:
    engines = OneEach({"student@0": student} if teacher is None else {"student@0": student, "teacher@0": teacher})
    for engine in {student, teacher} - {None}:
        assert engine is not None
        await engine.start()
    request = ScoreRequest(
        question="What is 17 + 25?",
        solution="42",
        explanations=["the 4", "the other 4"],
        student="student@0",
        teacher=None if teacher is None else "teacher@0",
        baseline=True,
        reward=RewardConfig(temperature=1.0),
        include=include or [],
    )
    return await make_scorer(engines).score(request)


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_a_students_numbers_that_were_not_asked_for_are_no_score(spoil: Callable[[Results], Results]) -> None:
    with pytest.raises(ScoringError):
        await ask(student=Spoilt(spoil), include=["tokens"])


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("merges", [FakeOptions().merges, ()], ids=["same tokenizer", "another tokenizer"])
async def test_a_teachers_numbers_that_were_not_asked_for_are_no_score(
    spoil: Callable[[Results], Results], merges: tuple[str, ...]
) -> None:
    with pytest.raises(ScoringError):
        await ask(student=FakeEngine(), teacher=Spoilt(spoil, options=FakeOptions(merges=merges)))


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_one_batch_of_both_is_checked_as_a_whole(spoil: Callable[[Results], Results]) -> None:
    engine = Spoilt(spoil)
    with pytest.raises(ScoringError):
        await ask(student=engine, teacher=engine)


async def test_unspoilt_numbers_are_a_score_that_names_the_fake_engine() -> None:
    engine = Spoilt(lambda results: results)
    found = await ask(student=engine, teacher=engine, include=["tokens"])
    assert (found.engine.name, len(found.scores)) == ("fake", 2)
