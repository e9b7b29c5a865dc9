"""Which samples become rows, in which order options apply, and that every explanation is accounted for."""

from typing import Any

import pytest

from rlt_core.schemas.collect import PROVENANCE, Provenance, SkippedRow
from rlt_train.collecting.keeping import Origin, collected_row, keep
from tests.train.collecting.parts import JOB, answered, row, sample, spec

# Four explanations: the best says the solution, the second best never closes, the third is long, the fourth is sound.
SAMPLES = (
    sample(0, reward=-0.1, verbatim=True),
    sample(1, reward=-0.2, well_formed=False),
    sample(2, reward=-0.3, student_tokens=90),
    sample(3, reward=-0.4),
)
FITS: dict[str, Any] = {"keep": "best_that_fits", "max_student_tokens": 50}


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, [0, 1, 2, 3]),
        ({"drop": ["verbatim"]}, [1, 2, 3]),
        ({"drop": ["unclosed", "verbatim"]}, [2, 3]),
        ({"keep": "best"}, [0]),
        ({"keep": "best", "drop": ["verbatim"]}, [1]),
        (FITS, [0]),
        (FITS | {"drop": ["unclosed", "verbatim"]}, [3]),
        (FITS | {"max_student_tokens": 39}, []),
        (FITS | {"max_student_tokens": 90, "drop": ["unclosed", "verbatim"]}, [2]),
    ],
)
def test_flaws_are_dropped_first_then_what_does_not_fit_and_then_the_best_is_chosen(
    options: dict[str, Any], kept: list[int]
) -> None:
    found = keep(answered(0, *SAMPLES), spec=spec(**options))
    assert [each.index for each in found.samples] == kept
    assert found.counts["rows"] == len(kept)
    assert found.counts["without_row"] == (not kept)


def test_flaws_are_counted_whether_they_are_dropped_or_not() -> None:
    both = sample(4, verbatim=True, well_formed=False)
    counts = keep(answered(0, *SAMPLES, both), spec=spec(drop=["unclosed"], **FITS)).counts
    assert (counts["explanations"], counts["verbatim"], counts["unclosed"]) == (5, 2, 2)
    assert (counts["dropped_verbatim"], counts["dropped_unclosed"], counts["over_budget"]) == (0, 2, 1)


def test_an_explanation_of_blanks_is_never_a_row() -> None:
    found = keep(answered(0, sample(0, text=" \n")), spec=spec())
    assert (found.samples, found.counts["empty"], found.counts["without_row"]) == ((), 1, 1)


def test_of_several_with_the_same_reward_the_first_is_the_best() -> None:
    assert keep(answered(0, sample(0), sample(1)), spec=spec(keep="best")).samples[0].index == 0


def test_a_question_that_was_skipped_is_counted_by_its_reason() -> None:
    skipped = SkippedRow(row="r0", reason="too_long", message="900 tokens")
    found = keep(answered(0).model_copy(update={"skipped": skipped}), spec=spec())
    assert (found.samples, found.counts) == ((), {"questions": 1, "too_long": 1})


def test_a_row_keeps_what_its_question_had_and_says_where_its_explanation_is_from() -> None:
    source = row(0, answer="1", reasoning_trace="by hand", metadata={"topic": "sums"})
    asked = spec(samples_per_question=4, temperature=0.9, max_tokens=64)
    origin = Origin(job=JOB, teacher="algebra@3", student="tiny@0", format="stratos@1")
    made = collected_row(source, answered(0, *SAMPLES), SAMPLES[2], spec=asked, origin=origin)
    assert (made.id, made.question, made.solution, made.answer) == ("r0#2", source.question, source.solution, "1")
    assert (made.reasoning_trace, made.metadata["topic"]) == (SAMPLES[2].text, "sums")
    told = Provenance.model_validate(made.metadata[PROVENANCE])
    assert (told.source_row, told.teacher, told.student, told.job) == ("r0", "algebra@3", "tiny@0", JOB)
    assert (told.seed, told.sample, told.n, told.temperature, told.max_tokens) == (7, 2, 4, 0.9, 64)
    assert (told.reward, told.r_ss, told.student_tokens) == (-0.3, -0.3, 90)
