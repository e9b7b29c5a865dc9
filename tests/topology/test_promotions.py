"""How late an alias reached a replica is read off the calls that it answered."""

import pytest

from benchmarks.topology.callers import Answer
from benchmarks.topology.promotions import lags_of


def answers(*told: tuple[float, str]) -> list[Answer]:
    return [Answer(call="watch", asked_s=at_s, answered_s=at_s + 0.1, version=version) for at_s, version in told]


def test_a_call_that_the_version_before_answers_after_the_move_is_as_late_as_it_was_asked() -> None:
    seen = answers((0.5, "a@1"), (1.2, "a@1"), (1.4, "a@1"), (1.6, "a@2"), (1.8, "a@2"))
    assert lags_of(seen, moves=[(1.0, "a@2")]) == [pytest.approx(0.4)]


def test_a_replica_that_forgets_a_move_again_is_late_by_its_last_answer() -> None:
    seen = answers((1.1, "a@2"), (3.5, "a@1"), (3.6, "a@2"))
    assert lags_of(seen, moves=[(1.0, "a@2")]) == [pytest.approx(2.5)]


def test_each_move_is_judged_by_the_calls_until_the_next() -> None:
    seen = answers((1.1, "a@2"), (2.1, "a@2"), (2.2, "a@1"))
    assert lags_of(seen, moves=[(1.0, "a@2"), (2.0, "a@1")]) == [0.0, pytest.approx(0.1)]


def test_a_move_that_nobody_saw_is_no_result() -> None:
    with pytest.raises(ValueError, match="no call after the move to a@2"):
        lags_of(answers((0.5, "a@1")), moves=[(1.0, "a@2")])
