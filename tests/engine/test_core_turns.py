import fcntl
import multiprocessing
import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from rlt_service.engine.core_turns import (
    ALONE_S,
    PATIENCE_S,
    SMALL_STEP_TOKENS,
    TURNS_VARIABLE,
    CoreTurns,
    turns_of_environment,
)


class Clock:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept = 0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept += 1


def held(path: Path) -> int:
    """Hold the lock as another engine does."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def is_free(path: Path) -> bool:
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def freed(path: Path, *, within_s: float = 30.0) -> bool:
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if is_free(path):
            return True
        time.sleep(0.01)
    return False


def test_a_small_step_has_the_cores_alone_and_its_engine_keeps_them_for_what_follows(tmp_path: Path) -> None:
    turns = CoreTurns(tmp_path / "cores.lock", linger_s=3600.0)
    turns.begin(tokens=SMALL_STEP_TOKENS)
    assert not is_free(tmp_path / "cores.lock")
    turns.end()
    assert not freed(tmp_path / "cores.lock", within_s=0.1)


def test_an_engine_that_begins_no_other_step_gives_them_back(tmp_path: Path) -> None:
    turns = CoreTurns(tmp_path / "cores.lock")
    for _ in range(2):
        turns.begin(tokens=1)
        turns.end()
        assert freed(tmp_path / "cores.lock")


def test_a_step_is_never_interrupted_however_long_it_takes(tmp_path: Path) -> None:
    turns = CoreTurns(tmp_path / "cores.lock", linger_s=0.01)
    turns.begin(tokens=1)
    turns.end()
    turns.begin(tokens=1)
    assert not freed(tmp_path / "cores.lock", within_s=0.2)


def test_with_nobody_waiting_the_turn_goes_on_at_once(tmp_path: Path) -> None:
    clock = Clock()
    turns = CoreTurns(tmp_path / "cores.lock", linger_s=3600.0, clock=clock, sleep=clock.sleep)
    for _ in range(3):
        turns.begin(tokens=1)
        turns.end()
    assert clock.slept == 0
    assert not is_free(tmp_path / "cores.lock")


def test_at_its_next_step_an_engine_lets_those_go_first_who_wait(tmp_path: Path) -> None:
    path, clock = tmp_path / "cores.lock", Clock()
    others: list[int] = []

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if not others:
            others.append(held(path))  # who waits looks again
        else:
            os.close(others[0])

    turns = CoreTurns(path, linger_s=3600.0, clock=clock, sleep=sleep)
    turns.begin(tokens=1)
    turns.end()
    waiting = os.open(path.with_name("cores.lock.waiting"), os.O_RDWR)
    fcntl.flock(waiting, fcntl.LOCK_SH)
    turns.begin(tokens=1)
    assert others
    assert not is_free(path)


def test_a_large_step_waits_for_nobody_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    clock = Clock()
    turns = CoreTurns(tmp_path / "cores.lock", linger_s=3600.0, clock=clock, sleep=clock.sleep)
    turns.begin(tokens=1)
    turns.end()
    turns.begin(tokens=SMALL_STEP_TOKENS + 1)
    assert is_free(tmp_path / "cores.lock")
    held(tmp_path / "cores.lock")
    turns.begin(tokens=SMALL_STEP_TOKENS + 1)
    assert clock.slept == 0


def test_who_stands_still_is_waited_for_once_and_then_not_for_a_while(tmp_path: Path) -> None:
    clock = Clock()
    turns = CoreTurns(tmp_path / "cores.lock", clock=clock, sleep=clock.sleep)
    held(tmp_path / "cores.lock")
    turns.begin(tokens=1)
    assert clock.now_s - 100.0 == pytest.approx(PATIENCE_S, abs=0.01)
    waited = clock.slept
    turns.begin(tokens=1)
    assert clock.slept == waited
    clock.now_s += ALONE_S
    turns.begin(tokens=1)
    assert clock.slept > waited


def test_who_went_on_alone_does_not_end_the_turn_of_another(tmp_path: Path) -> None:
    clock = Clock()
    turns = CoreTurns(tmp_path / "cores.lock", clock=clock, sleep=clock.sleep)
    held(tmp_path / "cores.lock")
    turns.begin(tokens=1)
    turns.end()
    assert not is_free(tmp_path / "cores.lock")


def take_steps(path: Path, name: str, log: Path, begin: float) -> None:
    """Take steps of some hundredths of a second, and note when each began and ended."""
    turns = CoreTurns(path)
    time.sleep(max(begin - time.time(), 0.0))
    for _ in range(10):
        turns.begin(tokens=8)
        began = time.monotonic()
        time.sleep(0.02)
        ended = time.monotonic()
        turns.end()
        with log.open("a") as lines:
            lines.write(f"{name} {began} {ended}\n")
        time.sleep(0.003)  # the engine's core decides what comes next


def test_two_engines_take_turns_and_never_compute_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = [(tmp_path / "cores.lock", name, tmp_path / f"{name}.log", time.time() + 3.0) for name in "ab"]
    engines = [context.Process(target=take_steps, args=each) for each in arguments]
    for engine in engines:
        engine.start()
    for engine in engines:
        engine.join(60.0)
    lines = [line.split() for name in "ab" for line in (tmp_path / f"{name}.log").read_text().splitlines()]
    steps = sorted((float(began), float(ended), name) for name, began, ended in lines)
    assert len(steps) == 20
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(steps))
    changes = sum(earlier[2] != later[2] for earlier, later in pairwise(steps))
    assert changes >= 5  # nobody has the cores for long while the other waits


def hold_for_ever(path: Path, ready: Path) -> None:
    CoreTurns(path).begin(tokens=1)
    ready.touch()
    time.sleep(600.0)


def test_a_killed_engine_leaves_its_turn(tmp_path: Path) -> None:
    other = multiprocessing.get_context("spawn").Process(
        target=hold_for_ever, args=(tmp_path / "cores.lock", tmp_path / "ready")
    )
    other.start()
    end_s = time.monotonic() + 60.0
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < end_s
        time.sleep(0.05)
    assert not is_free(tmp_path / "cores.lock")
    os.kill(other.pid or 0, signal.SIGKILL)
    other.join(30.0)
    assert is_free(tmp_path / "cores.lock")


def test_without_a_file_there_are_no_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TURNS_VARIABLE, raising=False)
    assert turns_of_environment() is None
    monkeypatch.setenv(TURNS_VARIABLE, str(tmp_path / "nowhere" / "cores.lock"))
    assert turns_of_environment() is None
    monkeypatch.setenv(TURNS_VARIABLE, str(tmp_path / "cores.lock"))
    assert turns_of_environment() is not None
