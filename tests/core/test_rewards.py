"""The reward: figures worked out by hand, and what must hold for any log-probs."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.errors import ScoringError
from rlt_core.rewards import (
    KlEstimator,
    RewardWeights,
    kl_per_token,
    kl_stats,
    score_explanation,
    solution_stats,
)

PAPER = RewardWeights()
logprobs = st.floats(min_value=-50.0, max_value=0.0)
some_logprobs = st.lists(logprobs, min_size=1, max_size=12)
divergences = st.lists(st.floats(min_value=-20.0, max_value=20.0), max_size=12)
NEAR = 1e-9


def reward(solution_S: list[float], kl_T: list[float] | None, *, weights: RewardWeights = PAPER) -> float:
    return score_explanation(solution_logprobs_S=solution_S, kl_T=kl_T, well_formed=True, weights=weights).reward


def test_the_defaults_are_the_papers_run() -> None:
    assert (
        RewardWeights(
            solution_mean=1.0,
            solution_min=0.01,
            kl_mean=3.0,
            kl_max=0.03,
            temperature=0.7,
            kl_estimator="k1",
            format_penalty=-1.0,
        )
        == RewardWeights()
    )


def test_the_reward_is_the_one_worked_out_by_hand() -> None:
    # solution: mean (-0.1 - 0.3) / 2 = -0.2, min -0.3      r_ss = 1 * -0.2 + 0.01 * -0.3 = -0.203
    # k1: -0.5 + 0.7 = 0.2, -1.0 + 2.0 = 1.0; mean 0.6, max 1.0     r_kl = 3 * 0.6 + 0.03 * 1.0 = 1.83
    kl_T = kl_per_token(teacher_logprobs_T=[-0.5, -1.0], student_logprobs_T=[-0.7, -2.0])
    assert kl_T == pytest.approx([0.2, 1.0])
    got = score_explanation(solution_logprobs_S=[-0.1, -0.3], kl_T=kl_T, well_formed=True, weights=PAPER)
    assert (got.solution.mean, got.solution.min, got.solution.sum) == pytest.approx((-0.2, -0.3, -0.4))
    assert got.solution.tokens == 2
    assert got.kl is not None
    assert (got.kl.mean, got.kl.max) == pytest.approx((0.6, 1.0))
    assert got.kl.tokens == 2
    assert (got.r_ss, got.r_kl, got.format) == pytest.approx((-0.203, 1.83, 0.0))
    assert got.reward == pytest.approx(-2.033)


def test_an_explanation_that_was_never_closed_costs_the_format_penalty() -> None:
    # The same as above, less 1.
    got = score_explanation(solution_logprobs_S=[-0.1, -0.3], kl_T=[0.2, 1.0], well_formed=False, weights=PAPER)
    assert got.format == -1.0
    assert got.reward == pytest.approx(-3.033)


def test_an_empty_explanation_costs_three_point_zero_three() -> None:
    # mean and max count as 1: 3 * 1 + 0.03 * 1
    got = score_explanation(solution_logprobs_S=[-0.1, -0.3], kl_T=[], well_formed=True, weights=PAPER)
    assert got.r_kl == pytest.approx(3.03)
    assert got.reward == pytest.approx(-3.233)
    assert got.kl is not None
    assert got.kl.tokens == 0


def test_without_teacher_logprobs_there_is_no_kl_term() -> None:
    got = score_explanation(solution_logprobs_S=[-0.1, -0.3], kl_T=None, well_formed=True, weights=PAPER)
    assert got.kl is None
    assert (got.r_kl, got.reward) == (0.0, pytest.approx(-0.203))


def test_k3_is_the_one_worked_out_by_hand() -> None:
    # 0.2 - 1 + exp(-0.2) = 0.0187308, 1 - 1 + exp(-1) = 0.3678794
    kl_T = kl_per_token(teacher_logprobs_T=[-0.5, -1.0], student_logprobs_T=[-0.7, -2.0], estimator="k3")
    assert kl_T == pytest.approx([0.0187308, 0.3678794], abs=1e-7)


def test_one_impossible_step_shows_behind_a_good_mean() -> None:
    # Same mean -2; min -8 against -2 costs 0.06 more.
    assert reward([0.0, 0.0, 0.0, -8.0], None) == pytest.approx(reward([-2.0] * 4, None) - 0.06)


def test_a_longer_explanation_of_the_same_divergence_is_neither_rewarded_nor_fined() -> None:
    assert reward([-1.0], [0.5] * 4) == pytest.approx(reward([-1.0], [0.5] * 400))


@given(solution_S=some_logprobs, kl_T=st.none() | divergences, well_formed=st.booleans())
def test_the_reward_is_finite_and_the_sum_of_its_parts(
    solution_S: list[float], kl_T: list[float] | None, well_formed: bool
) -> None:
    got = score_explanation(solution_logprobs_S=solution_S, kl_T=kl_T, well_formed=well_formed, weights=PAPER)
    assert math.isfinite(got.reward)
    assert got.reward == pytest.approx(got.r_ss - got.r_kl + got.format)


@given(solution_S=some_logprobs, gain=st.floats(min_value=0.0, max_value=50.0), data=st.data())
def test_a_likelier_solution_token_never_lowers_the_reward(
    solution_S: list[float], gain: float, data: st.DataObject
) -> None:
    place = data.draw(st.integers(min_value=0, max_value=len(solution_S) - 1))
    better_S = list(solution_S)
    better_S[place] = min(0.0, better_S[place] + gain)
    assert reward(better_S, None) >= reward(solution_S, None) - NEAR


@given(kl_T=divergences.filter(bool), growth=st.floats(min_value=0.0, max_value=20.0), data=st.data())
def test_a_larger_divergence_never_raises_the_reward(kl_T: list[float], growth: float, data: st.DataObject) -> None:
    place = data.draw(st.integers(min_value=0, max_value=len(kl_T) - 1))
    worse_T = list(kl_T)
    worse_T[place] += growth
    assert reward([-1.0], worse_T) <= reward([-1.0], kl_T) + NEAR


@given(solution_S=some_logprobs, kl_T=divergences, seed=st.integers())
def test_the_order_of_tokens_does_not_matter(solution_S: list[float], kl_T: list[float], seed: int) -> None:
    generator = random.Random(seed)
    shuffled_S = generator.sample(solution_S, k=len(solution_S))
    shuffled_T = generator.sample(kl_T, k=len(kl_T))
    assert reward(shuffled_S, shuffled_T) == reward(solution_S, kl_T)


@given(values=some_logprobs)
def test_the_smallest_logprob_is_never_above_the_mean(values: list[float]) -> None:
    stats = solution_stats(values)
    assert stats.min <= stats.mean + NEAR
    assert stats.sum <= 0.0


@given(values=divergences.filter(bool))
def test_the_largest_divergence_is_never_below_the_mean(values: list[float]) -> None:
    stats = kl_stats(values)
    assert stats.max >= stats.mean - NEAR


@given(pairs=st.lists(st.tuples(logprobs, logprobs)))
def test_k3_is_never_negative(pairs: list[tuple[float, float]]) -> None:
    kl_T = kl_per_token(
        teacher_logprobs_T=[teacher for teacher, _ in pairs],
        student_logprobs_T=[student for _, student in pairs],
        estimator="k3",
    )
    assert all(value >= 0.0 for value in kl_T)


@given(values_T=st.lists(logprobs), estimator=st.sampled_from(["k1", "k3"]))
def test_equal_models_do_not_diverge(values_T: list[float], estimator: KlEstimator) -> None:
    kl_T = kl_per_token(teacher_logprobs_T=values_T, student_logprobs_T=values_T, estimator=estimator)
    assert kl_T == [0.0] * len(values_T)


@given(teacher=logprobs, student=logprobs)
def test_k1_says_which_of_the_two_was_surer(teacher: float, student: float) -> None:
    (kl,) = kl_per_token(teacher_logprobs_T=[teacher], student_logprobs_T=[student])
    assert (kl > 0) == (teacher > student)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.5])
def test_what_is_no_logprob_is_refused_with_its_place(bad: float) -> None:
    with pytest.raises(ScoringError, match=r"solution log-prob .* at position 1"):
        solution_stats([-1.0, bad])
    with pytest.raises(ScoringError, match=r"teacher log-prob .* at position 0"):
        kl_per_token(teacher_logprobs_T=[bad], student_logprobs_T=[-1.0])
    with pytest.raises(ScoringError, match=r"student log-prob .* at position 0"):
        kl_per_token(teacher_logprobs_T=[-1.0], student_logprobs_T=[bad])


def test_a_logprob_that_rounding_pushed_above_zero_is_taken() -> None:
    assert solution_stats([1e-6]).tokens == 1


def test_a_solution_without_tokens_is_refused() -> None:
    with pytest.raises(ScoringError, match="at least one token"):
        score_explanation(solution_logprobs_S=[], kl_T=None, well_formed=True, weights=PAPER)


def test_teacher_and_student_must_cover_the_same_tokens() -> None:
    with pytest.raises(ScoringError, match="2 teacher log-probs for 1 of the student"):
        kl_per_token(teacher_logprobs_T=[-1.0, -1.0], student_logprobs_T=[-1.0])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_divergence_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ScoringError, match="not finite"):
        kl_stats([0.1, bad])


def test_k3_that_overflows_is_an_error_not_a_reward() -> None:
    with pytest.raises(ScoringError, match="use k1"):
        kl_per_token(teacher_logprobs_T=[-2000.0], student_logprobs_T=[-1.0], estimator="k3")
