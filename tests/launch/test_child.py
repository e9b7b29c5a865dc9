import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlt_service.launch.child import FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S, Child
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_child(tmp_path: Path, clock: Clock) -> Iterator[Callable[[str], Child]]:
    made: list[Child] = []

    def make(code: str) -> Child:
        command = [sys.executable, "-c", code]
        child = Child("part", command=command, environment=os.environ, log_path=tmp_path / "log", monotonic=clock)
        made.append(child)
        return child

    yield make
    for child in made:
        child.ask_to_end()
        wait_until(child.has_ended, what="the child has ended")


def ended(child: Child) -> str:
    wait_until(child.has_ended, what="it ended")
    return child.poll_end() or "still runs"


def test_an_end_is_said_once_with_its_code(make_child: Callable[[str], Child]) -> None:
    child = make_child("raise SystemExit(3)")
    child.start()
    assert ended(child) == "exit code 3"
    assert child.poll_end() is None


def test_an_end_by_a_signal_is_named(make_child: Callable[[str], Child]) -> None:
    child = make_child("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    child.start()
    assert ended(child) == "SIGKILL"


def test_pauses_between_restarts_double_up_to_the_longest(make_child: Callable[[str], Child], clock: Clock) -> None:
    child = make_child("pass")
    pauses: list[float | None] = []
    for _ in range(7):
        child.start()
        assert child.restart_in_s is None
        ended(child)
        pauses.append(child.restart_in_s)
    assert pauses == [FIRST_PAUSE_S, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


def test_a_part_that_ran_steadily_starts_again_soon(make_child: Callable[[str], Child], clock: Clock) -> None:
    child = make_child("pass")
    for _ in range(3):
        child.start()
        ended(child)
    child.start()
    clock.now_s += STEADY_S
    ended(child)
    assert child.restart_in_s == FIRST_PAUSE_S


def test_a_part_that_was_asked_to_end_is_not_started_again(make_child: Callable[[str], Child]) -> None:
    child = make_child("import time; time.sleep(60)")
    child.start()
    child.ask_to_end()
    wait_until(child.has_ended, what="it ended")
    assert child.restart_in_s is None


def test_the_last_line_is_this_start_s_and_without_colours(make_child: Callable[[str], Child], tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an older run\n")
    child = make_child("print('one'); print('\\x1b[31mtwo\\x1b[0m\\r\\x1b[2Kthree\\n')")
    assert child.last_lines() == ["an older run"]
    child.start()
    ended(child)
    assert child.last_lines() == ["three"]
    assert child.last_lines(9) == ["one", "two", "three"]


@pytest.mark.parametrize(
    "line",
    [
        "2030-01-01 10:00:00,123 INFO a.b: loading 40%",
        "(Core pid=12) INFO 01-01 10:00:00 [loader.py:12] loading 40%",
        "loading 40%",
    ],
)
def test_news_come_without_their_source_and_without_what_is_no_news(
    make_child: Callable[[str], Child], tmp_path: Path, line: str
) -> None:
    no_news = '"GET /readyz HTTP/1.1" 503\n(Core pid=12) WARNING 01-01 10:00:00 [a.py:1] no libfast\n'
    (tmp_path / "log").write_text(f"{line}\n{no_news}")
    assert make_child("").last_words() == "loading 40%"
