"""What is planned for the engine, without one."""

import pytest

from rlt_core.errors import InvalidRequestError
from rlt_core.formats import ExplanationPiece
from rlt_core.rewards import RewardWeights
from rlt_service.student.entries import Entry, Given
from rlt_service.student.plan import Reader, ScorePlan, Task, make_plan
from rlt_tokens import byte_codec

CODEC = byte_codec()
READER = Reader(adapter=None, codec=CODEC, max_model_len=1000)


def entry(text: str) -> Entry:
    return Entry(piece=ExplanationPiece(text=text), well_formed=True, given=None, codec=None)


def plan(*entries: Entry, each_token: bool = False, teacher_named: bool = False, baseline: bool = False) -> ScorePlan:
    task = Task(
        question="?",
        solution="42",
        entries=entries,
        weights=RewardWeights(temperature=0.7),
        student=READER,
        teacher=READER if teacher_named else None,
        baseline=baseline,
        each_token=each_token,
    )
    return make_plan(task)


def test_only_what_is_needed_is_scored() -> None:
    """Without a KL term and without a list of tokens, log-probs of the explanation would be computed for nothing."""
    lean, full = (
        plan(entry("Add.")).explanations[0].student,
        plan(entry("Add."), each_token=True).explanations[0].student,
    )
    assert (lean.request.start, full.request.start) == (lean.sequence.solution.start, full.sequence.explanation.start)


def test_everything_goes_to_the_engine_as_one_batch() -> None:
    made = plan(entry("Add."), entry(""), teacher_named=True, baseline=True)
    # Two students, the baseline, and one teacher: an empty explanation has nothing that a teacher could read.
    assert len(made.requests) == 4
    assert [request.temperature for request in made.requests] == [0.7] * 4


def test_ids_stand_in_both_sequences_as_they_were_generated() -> None:
    ids = tuple(reversed(CODEC.encode_text("in the end")))
    given = Entry(
        piece=ExplanationPiece(token_ids=ids, rest="."),
        well_formed=True,
        given=Given(logprobs_T=(-1.0,) * len(ids), temperature=0.9),
        codec=CODEC,
    )
    only = plan(given, teacher_named=True).explanations[0]
    assert only.teacher is not None
    for planned in (only.student, only.teacher):
        span = planned.sequence.explanation
        assert planned.sequence.token_ids[span.start : span.end] == ids
        assert planned.request.start == span.start
    assert only.teacher.request.temperature == 0.9


def test_text_that_cannot_be_encoded_points_at_its_explanation() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        plan(entry("fine"), entry("half a pair: \ud800"))
    assert refused.value.param == "/explanations/1"
