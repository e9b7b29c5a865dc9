"""A rolling window keeps as many calls open as may be, takes items only then, and leaves at a stop or an error."""

import threading
from collections.abc import Iterator

import pytest

from rlt_train.errors import StopRequested
from rlt_train.lifeline import StopFlag
from rlt_train.rolling import rolling

SOON_S = 10.0


def test_every_item_is_done_once_and_a_slow_one_holds_up_no_other() -> None:
    released = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert released.wait(SOON_S)
        return number

    found = rolling(range(20), work, at_once=3, stop=StopFlag())
    others = [next(found) for _ in range(19)]
    released.set()
    assert sorted(others) == list(range(1, 20))
    assert list(found) == [0]


def test_no_more_items_are_taken_than_calls_may_be_open() -> None:
    taken: list[int] = []
    hold = threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number >= 4:
            hold.wait(SOON_S)
        return number

    found = rolling(items(), work, at_once=4, stop=StopFlag())
    next(found)
    assert len(taken) == 5  # four are open, and one took the place of the one that is given
    hold.set()
    assert len(list(found)) == 99


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_first_error_is_raised(at_once: int) -> None:
    def work(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    with pytest.raises(ValueError, match="five"):
        list(rolling(range(100), work, at_once=at_once, stop=StopFlag()))


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_stop_is_heard_before_the_next_result(at_once: int) -> None:
    stop = StopFlag()
    found = rolling(range(100), lambda number: number, at_once=at_once, stop=stop)
    next(found)
    stop.request()
    with pytest.raises(StopRequested):
        next(found)


def test_with_one_at_a_time_all_is_done_in_the_callers_thread() -> None:
    threads = set(rolling(range(3), lambda _: threading.get_ident(), at_once=1, stop=StopFlag()))
    assert threads == {threading.get_ident()}
