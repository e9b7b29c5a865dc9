import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rlt_service.jobs.trainer_process import TrainerProcess, newcomers
from tests.jobs.site import gone
from tests.support.waiting import wait_until

FORKS_WHEN_TOLD = (
    "import os, time\ninput()\nif os.fork():\n time.sleep(600)\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
)
LEAVES_AN_ORPHAN = (
    "import os, time\nif os.fork() == 0:\n os.setsid()\n print(os.getpid(), flush=True)\n time.sleep(600)"
)


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", FORKS_WHEN_TOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()


def test_a_number_that_another_process_has_by_now_is_no_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    here, former = psutil.Process(), psutil.Process()
    assert newcomers([here], strangers=[former]) == []
    monkeypatch.setattr(former, "_ident", (here.pid, 1.0))  # began in 1970, and has ended
    assert newcomers([here], strangers=[former]) == [here]


@pytest.mark.processes
def test_what_a_stranger_starts_meanwhile_is_not_ended(stranger: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    assert stranger.stdin is not None
    assert stranger.stdout is not None
    trainer = TrainerProcess((sys.executable, "-c", "input()"), job_file=tmp_path / "job.json", folder=tmp_path)
    trainer.start()
    stranger.stdin.write(b"\n")
    stranger.stdin.flush()
    started = int(stranger.stdout.readline())
    assert trainer.end() == []
    assert not gone([started])
    assert stranger.poll() is None


@pytest.mark.processes
def test_what_lives_on_when_the_trainer_has_ended_is_ended(tmp_path: Path) -> None:
    command = (
        "from rlt_service.jobs.trainer_process import *\nimport sys\nfrom pathlib import Path\nbecome_subreaper()\n"
    )
    command += "t = TrainerProcess((sys.executable, '-c', sys.argv[2]), job_file=Path('j'), folder=Path(sys.argv[1]))\n"
    command += "t.start()\nt.wait(60.0)\nsys.exit(len(t.end()))"
    subprocess.run([sys.executable, "-c", command, str(tmp_path), LEAVES_AN_ORPHAN], check=True, timeout=60)
    orphan = int((tmp_path / "trainer.log").read_text())
    wait_until(lambda: gone([orphan]), what="the orphan ended")


@pytest.mark.processes
def test_the_longest_silence_is_that_between_beats_or_since_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr("rlt_service.jobs.trainer_process.time.monotonic", lambda: now_s)
    trainer = TrainerProcess((sys.executable, "-c", "input()"), job_file=tmp_path / "job.json", folder=tmp_path)
    trainer.start()
    seen: list[float] = []
    for pause_s in (1.0, 5.0, 2.0):
        now_s += pause_s
        trainer.beat()
        seen.append(trainer.longest_silence_s)
    now_s += 7.0
    assert [*seen, trainer.longest_silence_s] == [1.0, 5.0, 5.0, 7.0]
    monkeypatch.undo()
    trainer.end()


@pytest.mark.processes
def test_a_beat_that_the_pipe_does_not_take_breaks_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = TrainerProcess((sys.executable, "-c", ""), job_file=tmp_path / "job.json", folder=tmp_path)
    trainer.start()
    assert trainer.wait(60.0) == 0
    now_s = time.monotonic() + 9.0
    monkeypatch.setattr("rlt_service.jobs.trainer_process.time.monotonic", lambda: now_s)
    trainer.beat()
    assert trainer.longest_silence_s >= 9.0
    monkeypatch.undo()
    trainer.end()
