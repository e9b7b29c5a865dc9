"""Paired differences: what the interval is, and that anyone can compute it again."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.statistics import mean, mean_interval, paired_difference, pass_at_k

RESAMPLES = 200
values = st.floats(min_value=-100.0, max_value=100.0)
pairs = st.lists(st.tuples(values, values), min_size=2, max_size=10)


def test_two_questions_have_the_interval_worked_out_by_hand() -> None:
    # Differences 0 and 1. A resample's mean is 0, 0.5 or 1 with chances 1/4, 1/2, 1/4: the inner 95% is [0, 1].
    got = paired_difference(before=[1.0, 1.0], after=[1.0, 2.0])
    assert (got.mean, got.ci_low, got.ci_high, got.n) == (0.5, 0.0, 1.0, 2)


def test_a_difference_that_is_the_same_everywhere_has_no_spread() -> None:
    got = paired_difference(before=[1.0, 5.0, -2.0], after=[3.0, 7.0, 0.0])
    assert (got.mean, got.ci_low, got.ci_high) == (2.0, 2.0, 2.0)


def test_many_questions_have_about_the_normal_interval() -> None:
    # 400 differences, half 0, half 1: standard error 0.5 / 20 = 0.025, so 0.5 -+ 1.96 * 0.025 = [0.451, 0.549].
    got = paired_difference(before=[0.0] * 400, after=[0.0, 1.0] * 200, resamples=2000)
    assert got.mean == 0.5
    assert got.ci_low == pytest.approx(0.451, abs=0.006)
    assert got.ci_high == pytest.approx(0.549, abs=0.006)


def test_pairing_removes_what_the_questions_differ_in() -> None:
    hard_and_easy = [float(index) for index in range(50)]
    got = paired_difference(before=hard_and_easy, after=[value + 1.0 for value in hard_and_easy])
    assert (got.ci_low, got.ci_high) == (1.0, 1.0)


@given(pairs=pairs, seed=st.integers())
def test_the_same_seed_gives_the_same_interval(pairs: list[tuple[float, float]], seed: int) -> None:
    before, after = [a for a, _ in pairs], [b for _, b in pairs]
    first = paired_difference(before=before, after=after, seed=seed, resamples=RESAMPLES)
    assert paired_difference(before=before, after=after, seed=seed, resamples=RESAMPLES) == first


@given(pairs=pairs)
def test_the_interval_lies_within_the_differences(pairs: list[tuple[float, float]]) -> None:
    before, after = [a for a, _ in pairs], [b for _, b in pairs]
    differences = [b - a for a, b in pairs]
    got = paired_difference(before=before, after=after, resamples=RESAMPLES)
    assert min(differences) - 1e-9 <= got.ci_low <= got.ci_high <= max(differences) + 1e-9
    assert got.n == len(pairs)


@given(pairs=pairs)
def test_the_other_way_round_the_difference_is_turned_round(pairs: list[tuple[float, float]]) -> None:
    before, after = [a for a, _ in pairs], [b for _, b in pairs]
    there = paired_difference(before=before, after=after, resamples=RESAMPLES)
    back = paired_difference(before=after, after=before, resamples=RESAMPLES)
    assert (back.mean, back.ci_low, back.ci_high) == (-there.mean, -there.ci_high, -there.ci_low)


@pytest.mark.parametrize(("before", "after"), [([], []), ([1.0], [2.0]), ([1.0, 2.0], [1.0])])
def test_too_few_or_unpaired_values_are_refused(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match=f"got {len(before)} and {len(after)}"):
        paired_difference(before=before, after=after)


def test_the_mean_of_no_values_is_refused() -> None:
    assert mean([1.0, 2.0]) == 1.5
    with pytest.raises(ValueError, match="no values"):
        mean([])


def test_pass_at_k_is_the_share_of_choices_that_hold_a_right_answer() -> None:
    # 2 of 4 right: of the 6 pairs one has no right answer, so 5/6; of the 4 triples none, so 1.
    assert pass_at_k(samples=4, right=2, k=1) == 0.5
    assert pass_at_k(samples=4, right=2, k=2) == pytest.approx(5 / 6)
    assert pass_at_k(samples=4, right=2, k=3) == 1.0
    assert pass_at_k(samples=5, right=0, k=5) == 0.0


@given(samples=st.integers(1, 7), data=st.data())
def test_pass_at_k_is_what_counting_all_choices_gives(samples: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    answers = [index < right for index in range(samples)]
    choices = list(combinations(answers, k))
    assert pass_at_k(samples=samples, right=right, k=k) == pytest.approx(sum(map(any, choices)) / len(choices))


@pytest.mark.parametrize(("samples", "right", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 1), (4, -1, 1), (0, 0, 1)])
def test_pass_at_k_of_more_than_there_are_is_refused(samples: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match="no choice of"):
        pass_at_k(samples=samples, right=right, k=k)


def test_a_mean_has_the_interval_that_a_difference_to_nothing_has() -> None:
    values = [0.0, 1.0, 0.25, 0.5]
    alone, paired = mean_interval(values), paired_difference(before=[0.0] * 4, after=values)
    assert (alone.mean, alone.ci_low, alone.ci_high, alone.n) == (paired.mean, paired.ci_low, paired.ci_high, 4)
    assert (mean_interval([1.0]).ci_low, mean_interval([1.0]).n) == (None, 1)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
