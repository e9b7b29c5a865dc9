import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from rlt_core.schemas.jobs import QUEUE
from rlt_service.jobs.strays import MARK, Strays, mark_of
from tests.jobs.site import Site, gone
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

NOBODY = 65534
ENDS_STRAYS = """
import sys
from pathlib import Path
from rlt_service.jobs.strays import Strays
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore
database = Database(sys.argv[2])
database.start()
print(Strays(Path(sys.argv[1]), JobStore(database)).end())
"""


class Start(Protocol):
    """Starts a process with a mark, in a session of its own; gives its number."""

    def __call__(self, mark: str, *, user: int | None = None) -> int: ...


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start(mark: str, *, user: int | None = None) -> int:
        started.append(
            subprocess.Popen(["sleep", "600"], env=os.environ | {MARK: mark}, user=user, start_new_session=True)
        )
        return started[-1].pid

    yield start
    for process in started:
        with process:
            process.kill()


def ended_attempt(site: Site) -> str:
    """Give a job whose first attempt has ended and whose second one runs."""
    job = site.submit("ok")
    site.jobs.claim(queue=QUEUE, worker="w1")
    site.jobs.requeue(job.id, 1, "its lease ran out")
    site.jobs.claim(queue=QUEUE, worker="w2")
    return job.id


def test_only_what_carries_an_attempt_of_this_folder_that_has_ended_is_ended(
    site: Site, start: Start, tmp_path: Path
) -> None:
    home, other = site.settings.home, tmp_path / "other"
    other.mkdir()
    job, over = ended_attempt(site), site.submit("ok").id
    site.jobs.cancel(over)
    spared = {
        "it runs": start(mark_of(home, job_id=job, attempt=2)),
        "a folder of the same jobs, such as a restored one": start(mark_of(other, job_id=job, attempt=1)),
        "a database of other jobs": start(mark_of(home, job_id="job_0123456789abcdef0123", attempt=1)),
        "no mark": start("nonsense"),
        "no number": start(mark_of(home, job_id=job, attempt=1).replace("/1@", "/one@")),
        "more than a mark": start(mark_of(home, job_id=job, attempt=1) + "0"),
    }
    strays = Strays(home, site.jobs)
    lost = [start(mark_of(home, job_id=job, attempt=1)), start(mark_of(home, job_id=over, attempt=1))]
    assert sorted(strays.end()) == sorted(lost)
    wait_until(lambda: gone(lost), what="both have ended")
    assert [why for why, pid in spared.items() if gone([pid])] == []
    assert strays.end() == []  # nor is there any more to say of what has ended and waits for its parent


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process as another user")
def test_another_users_process_is_left_alone(site: Site, start: Start) -> None:
    pid = start(mark_of(site.settings.home, job_id=ended_attempt(site), attempt=1), user=NOBODY)
    assert Strays(site.settings.home, site.jobs).end() == []
    assert not gone([pid])


def test_a_worker_that_was_started_with_a_mark_ends_neither_itself_nor_its_parents(site: Site) -> None:
    """As from the shell of somebody who looks into an attempt."""
    home = site.settings.home
    done = subprocess.run(
        ["sh", "-c", '"$@"; true', "sh", sys.executable, "-c", ENDS_STRAYS, str(home), site.settings.database],
        env=os.environ | {MARK: mark_of(home, job_id=ended_attempt(site), attempt=1)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_folder_has_one_mark_by_whichever_way_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    marks = {mark_of(tmp_path / name, job_id="job_1", attempt=2) for name in ("home", "link")}
    assert len(marks) == 1
    assert marks != {mark_of(tmp_path, job_id="job_1", attempt=2)}
