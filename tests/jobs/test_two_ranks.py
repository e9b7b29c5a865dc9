"""A trainer of two ranks that a worker starts, each in a session of its own, with one standard input for both."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.jobs.site import Site, gone, make_site
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

LEASE_S = 2.5
COMMAND = (sys.executable, str(Path(__file__).with_name("two_ranks.py")))
TWO = {"processes": 2}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = make_site(tmp_path)
    settings = made.settings.model_copy(update={"lease_s": LEASE_S, "trainer_command": COMMAND, "cancel_grace_s": 10.0})
    yield replace(made, settings=settings)
    made.database.close()


@pytest.fixture(autouse=True)
def hidden_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))  # accelerate reads a user's settings there


def ranks(site: Site, job_id: str) -> list[dict[str, Any]]:
    folder = site.artifacts.attempt_dir(job_id, 1)
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]


def trains(site: Site, job_id: str) -> bool:
    """Whether both ranks have lived for longer than a lease: both hear the beats."""
    said = ranks(site, job_id)
    return len(said) == 2 and all(rank["age_s"] > 2 * LEASE_S for rank in said)


def pids(site: Site, job_id: str) -> list[int]:
    """Give the ranks and their launcher, which are apart from each other."""
    said = ranks(site, job_id)
    assert {rank["ranks"] for rank in said} == {2}
    assert len({rank["session"] for rank in said} | {os.getsid(0)}) == 3
    return [*(rank["pid"] for rank in said), said[0]["launcher"]]


@contextmanager
def supervised(site: Site) -> Iterator[psutil.Popen]:
    """Run the next job under a supervisor in a process of its own."""
    command = [sys.executable, "-m", "tests.jobs.supervise", site.settings.model_dump_json()]
    with psutil.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            with suppress(psutil.NoSuchProcess):
                process.resume()
                process.kill()


def test_both_ranks_hear_the_beats_and_a_cancelled_job_leaves_neither(site: Site) -> None:
    job = site.submit("ranks", parallel=TWO)
    found: list[int] = []

    def cancel_when_both_train() -> None:
        wait_until(lambda: trains(site, job.id), what="both ranks train", timeout_s=120.0)
        found.extend(pids(site, job.id))
        site.jobs.cancel(job.id)

    cancelling = threading.Thread(target=cancel_when_both_train)
    cancelling.start()
    done = site.run_one()
    cancelling.join()
    assert (done.status, len(found)) == ("cancelled", 3)
    assert gone(found)


def kill(supervisor: psutil.Popen) -> None:
    supervisor.send_signal(signal.SIGKILL)


def stop(supervisor: psutil.Popen) -> None:
    supervisor.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("harm", [kill, stop])
def test_no_rank_writes_on_when_the_supervisor_is_gone_or_stalled(
    site: Site, harm: Callable[[psutil.Popen], None]
) -> None:
    job = site.submit("ranks", parallel=TWO)
    with supervised(site) as supervisor:
        wait_until(lambda: trains(site, job.id), what="both ranks train", timeout_s=120.0)
        found = pids(site, job.id)
        harm(supervisor)
        wait_until(lambda: gone(found), what="ranks and launcher ended", timeout_s=60.0)


def test_a_lease_that_only_the_ranks_noticed_counts_as_no_crash(site: Site) -> None:
    job = site.submit("ranks", parallel=TWO)
    with supervised(site) as supervisor:
        wait_until(lambda: trains(site, job.id), what="both ranks train", timeout_s=120.0)
        found = pids(site, job.id)
        supervisor.suspend()
        wait_until(lambda: gone(found), what="ranks and launcher ended", timeout_s=60.0)
        supervisor.resume()
        wait_until(lambda: site.jobs.get(job.id).status == "queued", what="the job goes back", timeout_s=60.0)
    [given_back] = site.jobs.events(job.id, types=("requeued",))
    assert given_back.data["crashes"] == 0
    assert "exit code 1)" in given_back.data["reason"]  # the launcher's own, not that of its ranks
