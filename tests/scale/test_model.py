"""The model of a step agrees with what can be computed by hand."""

from dataclasses import replace

import pytest

from benchmarks.scale.model import Engine, Plan, drawn, simulate

ENGINE = Engine(slots=8, first_s=0.5, fixed_s=0.02, each_s=0.001)
ALONE = Plan(teacher=ENGINE, teachers=1, students=1, score_token_s=0.0)


def test_sequences_of_one_length_that_fit_end_together() -> None:
    # 0.5 s, then 99 steps of 0.02 + 4 · 0.001 s.
    found = simulate(ALONE, [[100] * 4])
    assert found.generated_s == pytest.approx(0.5 + 99 * 0.024)
    assert found.teachers_fill == pytest.approx(4 / 8)
    assert found.tokens == 400


def test_what_does_not_fit_waits_for_a_whole_wave() -> None:
    assert simulate(ALONE, [[100] * 24]).generated_s == pytest.approx(3 * (0.5 + 99 * 0.028))


def test_a_longer_sequence_goes_on_faster_when_the_others_have_ended() -> None:
    # 9 steps of two, then 90 of one.
    assert simulate(ALONE, [[10, 100]]).generated_s == pytest.approx(0.5 + 9 * 0.022 + 90 * 0.021)


def test_where_steps_take_the_same_whoever_is_at_work_the_longest_sequence_decides() -> None:
    flat = replace(ALONE, teacher=Engine(slots=1000, first_s=0.0, fixed_s=0.01, each_s=0.0))
    lengths = drawn(questions=10, samples=20, mean=200.0, spread=0.8, most=2000, seed=1)
    longest = max(map(max, lengths))
    assert simulate(flat, lengths).generated_s == pytest.approx((longest - 1) * 0.01)


def test_two_teachers_share_calls_evenly() -> None:
    two = replace(ALONE, teachers=2)
    assert simulate(two, [[100] * 4] * 4).generated_s == pytest.approx(0.5 + 99 * 0.028)


def test_work_is_kept_whatever_the_order() -> None:
    # One slot: sequences come one after the other, so that their times add up.
    single = replace(ALONE, teacher=Engine(slots=1, first_s=0.1, fixed_s=0.02, each_s=0.0))
    lengths = drawn(questions=5, samples=4, mean=50.0, spread=0.5, most=500, seed=2)
    tokens = [one for samples in lengths for one in samples]
    assert simulate(single, lengths).generated_s == pytest.approx(sum(0.1 + 0.02 * (one - 1) for one in tokens))


def test_scores_queue_before_students_in_the_order_in_which_questions_end() -> None:
    # Four questions end at once; two students take two each, 10 + 5 tokens at 0.1 s each.
    plan = replace(ALONE, teachers=4, students=2, score_token_s=0.1, around_tokens=5)
    found = simulate(plan, [[10]] * 4)
    assert found.rollouts_s - found.generated_s == pytest.approx(2 * 1.5)
    assert found.students_busy == pytest.approx(4 * 1.5 / (2 * found.rollouts_s))


def test_one_reader_takes_answers_one_after_the_other() -> None:
    plan = replace(ALONE, teachers=4, read_token_s=0.05)
    found = simulate(plan, [[10]] * 4)
    assert found.rollouts_s - found.generated_s == pytest.approx(4 * 0.5)
    assert found.read_s == pytest.approx(2.0)


def test_calls_take_their_time_before_both_engines() -> None:
    found = simulate(replace(ALONE, call_s=0.25), [[1]])
    assert found.rollouts_s == pytest.approx(0.25 + 0.5 + 0.25)


def test_with_one_question_at_once_questions_follow_each_other() -> None:
    plan = replace(ALONE, score_token_s=0.1, questions_at_once=1)
    one = simulate(plan, [[10] * 4]).rollouts_s
    assert simulate(plan, [[10] * 4] * 3).rollouts_s == pytest.approx(3 * one)


def test_a_step_is_the_sum_of_its_parts_and_ahead_the_longer_side() -> None:
    plan = replace(ALONE, train_token_s=0.01, publish_s=1.0)
    found = simulate(plan, [[100] * 4])
    assert found.step_s == pytest.approx(found.rollouts_s + 4.0 + 1.0)
    assert simulate(replace(plan, ahead=1), [[100] * 4]).step_s == pytest.approx(max(found.rollouts_s, 5.0))


def test_the_bottleneck_is_named() -> None:
    assert simulate(ALONE, [[100]]).bottleneck == "generation"
    assert simulate(replace(ALONE, train_token_s=1.0), [[100]]).bottleneck == "training"
    assert simulate(replace(ALONE, publish_s=100.0), [[100]]).bottleneck == "publishing"
    assert simulate(replace(ALONE, score_token_s=1.0), [[100]]).bottleneck == "scores behind the last token"


def test_lengths_have_their_mean_and_their_limit() -> None:
    lengths = [
        one
        for samples in drawn(questions=400, samples=50, mean=1000.0, spread=0.6, most=10**9, seed=3)
        for one in samples
    ]
    assert sum(lengths) / len(lengths) == pytest.approx(1000.0, rel=0.02)
    assert max(map(max, drawn(questions=50, samples=20, mean=1000.0, spread=0.6, most=900, seed=3))) == 900


def test_a_step_of_nothing_is_refused() -> None:
    for plan, lengths in ((ALONE, []), (ALONE, [[]]), (replace(ALONE, students=0), [[1]])):
        with pytest.raises(ValueError, match="a step needs"):
            simulate(plan, lengths)
