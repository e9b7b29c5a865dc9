import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from rlt_train.errors import StopRequested
from rlt_train.lifeline import StopFlag
from rlt_train.side_by_side import side_by_side


@pytest.fixture
def own_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_works_run_at_the_same_time_and_give_their_results_in_order() -> None:
    both = threading.Barrier(2, timeout=10.0)

    def work(number: int) -> int:
        both.wait()  # passes only where another one runs too
        return number

    assert side_by_side([partial(work, number) for number in range(6)], at_once=2, stop=StopFlag()) == list(range(6))


def test_no_more_run_at_a_time_than_may() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def work() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1

    side_by_side([work] * 9, at_once=3, stop=StopFlag())
    assert most[0] <= 3


def test_one_at_a_time_is_done_in_the_callers_thread() -> None:
    threads = side_by_side([threading.current_thread] * 3, at_once=1, stop=StopFlag())
    assert threads == [threading.current_thread()] * 3


def test_the_first_error_is_raised_at_once_and_nothing_else_begins() -> None:
    slow, begun = threading.Event(), list[int]()

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("broken")
        slow.wait(10.0)

    began_s = time.monotonic()
    with pytest.raises(ValueError, match="broken"):
        side_by_side([partial(work, number) for number in range(9)], at_once=2, stop=StopFlag())
    assert time.monotonic() - began_s < 5.0
    slow.set()
    time.sleep(0.05)
    assert set(begun) <= {0, 1}


@pytest.mark.usefixtures("own_handler")
def test_a_stop_leaves_works_that_wait() -> None:
    stop, never = StopFlag(), threading.Event()
    stop.on_sigterm()

    def work(number: int) -> None:
        with stop.waiting():  # as a call of a service does, in another thread than the signal's
            if number == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            never.wait(10.0)

    began_s = time.monotonic()
    with pytest.raises(StopRequested):
        side_by_side([partial(work, number) for number in range(2)], at_once=2, stop=stop)
    assert time.monotonic() - began_s < 5.0
    never.set()


def test_a_wait_of_another_thread_is_none_of_the_main_threads() -> None:
    stop, inside, left = StopFlag(), threading.Event(), threading.Event()

    def wait() -> None:
        with stop.waiting():
            inside.set()
            left.wait(10.0)

    thread = threading.Thread(target=wait)
    thread.start()
    assert inside.wait(10.0)
    stop.request()  # would raise here, where the main thread may be changing a weight
    left.set()
    thread.join()
    with pytest.raises(StopRequested):
        stop.check()
