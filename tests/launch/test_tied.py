import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

PARENT = """
import subprocess, sys, time
from rlt_service.launch import tied
child = subprocess.Popen(tied.command([sys.executable, "-c", "print('here', flush=True); import time; time.sleep(60)"]),
                         stdout=open(sys.argv[1], "w"))
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_tied_command_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(said)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        wait_until(lambda: said.exists() and "here" in said.read_text(), what="the child runs")
        parent.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, what="the child ended")


def test_a_command_whose_parent_is_already_gone_does_not_begin() -> None:
    command = [sys.executable, "-m", "rlt_service.launch.tied", "1", sys.executable, "-c", "print('began')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
