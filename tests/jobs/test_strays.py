import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlt_core.schemas.jobs import QUEUE
from rlt_service.jobs.strays import MARK, Strays, mark_of
from tests.jobs.site import Site, gone
from tests.support.waiting import wait_until

Start = Callable[[str], int]
SLEEPS = "import time\nprint('up', flush=True)\ntime.sleep(600)"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes with a mark, in sessions of their own."""
    started: list[subprocess.Popen[str]] = []

    def start(mark: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", SLEEPS],
            env=os.environ | {MARK: mark},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process.pid

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.mark.processes
def test_only_what_carries_an_attempt_of_this_folder_that_does_not_run_is_ended(
    site: Site, start: Start, tmp_path: Path
) -> None:
    home, other = site.settings.home, tmp_path / "other"
    other.mkdir()
    job = site.submit("ok")
    site.jobs.claim(queue=QUEUE, worker="w1")
    site.jobs.requeue(job.id, 1, "its lease ran out")
    site.jobs.claim(queue=QUEUE, worker="w2")
    runs = start(mark_of(home, job_id=job.id, attempt=2))
    elsewhere = start(mark_of(other, job_id=job.id, attempt=1))
    unmarked = start("nonsense")
    earlier, unknown = start(mark_of(home, job_id=job.id, attempt=1)), start(mark_of(home, job_id="none", attempt=1))
    strays = Strays(home, site.jobs)
    assert sorted(strays.end()) == sorted([earlier, unknown])
    wait_until(lambda: gone([earlier, unknown]), what="both have ended")
    assert not any(gone([pid]) for pid in (runs, elsewhere, unmarked))
    assert strays.end() == []


def test_a_folder_has_one_mark_by_whichever_way_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    marks = {mark_of(tmp_path / name, job_id="job_1", attempt=2) for name in ("home", "link")}
    assert len(marks) == 1
    assert marks != {mark_of(tmp_path, job_id="job_1", attempt=2)}
