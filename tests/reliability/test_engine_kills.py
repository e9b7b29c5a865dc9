"""What judges the kill of a server sees an engine that outlives it, and clients that were not cut off."""

import subprocess
import sys
import time
from concurrent.futures import Future

import psutil
import pytest

from benchmarks.reliability import engine_kills
from benchmarks.reliability.engine_clients import Clients, Heard
from benchmarks.reliability.engine_kills import cut_off, gone_after


def test_an_engine_that_outlives_its_server_is_a_failure_and_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_kills, "GONE_S", 0.2)
    wrong: list[str] = []
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as engine:
        gone_after([psutil.Process(engine.pid)], since_s=time.monotonic(), wrong=wrong)
    assert wrong == [f"processes of its engine after 0 s: [{engine.pid}]"]
    assert gone_after([], since_s=time.monotonic(), wrong=wrong) < 10.0
    assert len(wrong) == 1


def clients(*heard: Heard) -> Clients:
    calls: list[Future[Heard]] = [Future() for _ in heard]
    for call, one in zip(calls, heard, strict=True):
        call.set_result(one)
    return Clients(address="", calls=calls)


@pytest.mark.parametrize(
    ("status", "at_s", "fault"),
    [(0, 100.2, None), (0, 106.0, "0 after 6.0 s"), (0, 99.9, "0 after -0.1 s"), (503, 100.2, "503 after 0.2 s")],
)
def test_a_client_of_a_killed_server_must_be_cut_off_at_once(status: int, at_s: float, fault: str | None) -> None:
    wrong: list[str] = []
    sound = Heard(status=0, at_s=100.1, may_ask_again=False)
    last_s = cut_off(clients(sound, Heard(status=status, at_s=at_s, may_ask_again=False)), killed_s=100.0, wrong=wrong)
    assert last_s == pytest.approx(max(0.1, at_s - 100.0))
    assert wrong == ([fault] if fault else [])
