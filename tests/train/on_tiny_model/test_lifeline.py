import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlt_core.schemas.trainer import EXIT_LEASE_LOST, EXIT_STOPPED, CheckpointEvent, LogEvent, ProgressEvent
from rlt_train.__main__ import main
from rlt_train.errors import StopRequested
from rlt_train.lifeline import StopFlag, watch_beats
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # the test closed it


def test_end_of_the_pipe_loses_the_lease(pipe: tuple[int, int]) -> None:
    lost = threading.Event()
    thread = watch_beats(pipe[0], lease_s=60.0, on_lost=lost.set)
    os.close(pipe[1])
    thread.join(timeout=10.0)
    assert lost.is_set()


def test_silence_loses_the_lease_and_beats_keep_it(pipe: tuple[int, int]) -> None:
    lost = threading.Event()
    watch_beats(pipe[0], lease_s=0.5, on_lost=lost.set)
    for _ in range(10):
        os.write(pipe[1], b"\n")
        assert not lost.wait(0.1)
    wait_until(lost.is_set, what="silence was noticed")


def test_ranks_that_share_a_pipe_all_hear_beats_and_silence(pipe: tuple[int, int]) -> None:
    lost = [threading.Event() for _ in range(3)]
    for one in lost:
        watch_beats(pipe[0], lease_s=1.5, on_lost=one.set)
    for _ in range(8):
        os.write(pipe[1], b"." * 200)  # more than the pipe is left with, in the end
        assert not any(one.wait(0.1) for one in lost)
    wait_until(lambda: all(one.is_set() for one in lost), what="all ranks noticed the silence", timeout_s=10.0)


def test_a_pipe_that_nobody_reads_is_emptied_before_it_is_full(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    lost = threading.Event()
    watch_beats(pipe[0], lease_s=2.0, on_lost=lost.set)
    for _ in range(100):
        os.write(pipe[1], b"." * 1500)  # 150 kB; a full pipe would refuse it
        assert not lost.wait(0.06)


def test_stop_waits_for_a_safe_place() -> None:
    stop = StopFlag()
    stop.request()
    with pytest.raises(StopRequested):
        stop.check()


def test_stop_ends_a_wait_at_once() -> None:
    stop = StopFlag()
    went_on = False

    def interrupted_wait() -> None:
        nonlocal went_on
        with stop.waiting():
            stop.request()
            went_on = True

    with pytest.raises(StopRequested):
        interrupted_wait()
    assert not went_on


def test_trainer_ends_when_its_parent_is_killed() -> None:
    child = "from rlt_train.lifeline import die_with_parent as d; d(); print('armed', flush=True); input()"
    parent = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); print(p.pid); p.wait()"
    process = subprocess.Popen([sys.executable, "-u", "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        lines = {process.stdout.readline().strip(), process.stdout.readline().strip()}
        pid = int(next(line for line in lines if line != b"armed"))
        process.kill()
        process.wait()
        # The pipe stays open here, so only the parent's death can end the child.
        wait_until(lambda: not _alive(pid), what="the child is gone")


def test_process_whose_pipe_is_closed_leaves_with_its_own_code(world: Any) -> None:
    with _start(world.warmup(), world) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == EXIT_LEASE_LOST


@pytest.mark.usefixtures("own_handler")
def test_sigterm_saves_the_last_step_and_leaves_with_its_own_code(world: Any) -> None:
    job = world.warmup(max_steps=100_000, epochs=1000.0, max_tokens=4096, lora={"rank": 1, "alpha": 1.0})
    job = job.model_copy(update={"spec": job.spec.model_copy(update={"max_steps": None, "batch_size": 1})})
    events, ended = Path(job.events_path), threading.Event()

    def ask_to_stop() -> None:
        wait_until(lambda: events.exists() and "progress" in events.read_text(), what="a step is done", timeout_s=90.0)
        if not ended.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask_to_stop)
    asking.start()
    # In this process, which has torch already: the signal is the real one, and so is the handler.
    code = main(["--job", str(_written(job, world)), "--no-watch"])
    ended.set()
    asking.join()
    assert code == EXIT_STOPPED
    said = world.events(job)
    last = max(event.step for event in said if isinstance(event, ProgressEvent))
    checkpoint = next(event for event in said if isinstance(event, CheckpointEvent))
    assert checkpoint.step in (last, last + 1)  # a step may end between its progress and the signal
    assert (Path(checkpoint.path) / "manifest.json").is_file()
    assert isinstance(said[-1], LogEvent)


def _written(job: Any, world: Any) -> Path:
    path = world.root / f"{Path(job.attempt_dir).name}.json"
    path.write_text(job.model_dump_json())
    return path


def _start(job: Any, world: Any) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-W", "ignore", "-m", "rlt_train", "--job", str(_written(job, world))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
