"""Processes tied to their owner end with it, from the first line that they run."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

# The child takes for ever to import what it should run, as one of vLLM's does for many seconds; so does its own child.
SLOW = """
import multiprocessing, os, time
print(os.getpid(), flush=True)
if "DEEPER" in os.environ:
    del os.environ["DEEPER"]
    from slow_owner import work
    multiprocessing.get_context("spawn").Process(target=work).start()
time.sleep(600)
def run(): ...
"""
OWNER = """
import multiprocessing, os, time
from rlt_service.engine.owner import OWNER_VARIABLE, tied_children

def work():
    import slow_import

if __name__ == "__main__":
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    os.environ["DEEPER"] = "1"
    from slow_owner import work
    with tied_children():
        multiprocessing.get_context("spawn").Process(target=work).start()
    print("started", flush=True)
    time.sleep(600)
"""


def test_children_and_theirs_end_with_a_killed_owner_even_while_they_import(tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text(SLOW, encoding="utf-8")
    (tmp_path / "slow_owner.py").write_text(OWNER, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "slow_owner.py")], stdout=subprocess.PIPE, text=True, env=environment
    ) as owner:
        below: list[psutil.Process] = []
        try:
            assert owner.stdout is not None
            said = {owner.stdout.readline().strip() for _ in range(3)} - {"started"}
            assert len(said) == 2
            below = [psutil.Process(int(pid)) for pid in said]
            owner.kill()
            wait_until(lambda: not any(_runs(process) for process in below), what="all have ended", timeout_s=10.0)
        finally:
            owner.kill()
            for process in below:
                if _runs(process):
                    process.kill()


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
