"""kill -9 at any moment of a backup or a restore: there is a whole one or none, the old home or the new one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rlt_client import Client
from rlt_service.backup.restore import restore
from rlt_service.backup.snapshot import back_up
from tests.backup.history import Quiet, register
from tests.jobs.site import Site, make_site, stub_environment
from tests.support.server import running_up
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

FILES = 40
"""Versions of the home, two files each: room for kills between them."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rlt_client", *arguments]


def killed(arguments: Sequence[str], *, when: Callable[[], bool]) -> bool:
    """Start a command and kill it at a moment; False if it was done before that came."""
    process = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 60.0
    while process.poll() is None and not when():
        assert time.monotonic() < deadline_s
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL) if process.poll() is None else None
    return process.wait() == -signal.SIGKILL


def count_unfinished(folder: Path, name: str) -> int:
    """Count the files that a command has written so far, beside their place."""
    return sum(
        1
        for part in folder.glob(f".{name}.part-*")
        for _, _, files in os.walk(part)
        for file in files
        if file[0] != "."
    )


@pytest.fixture
def full_site(site: Site) -> Site:
    for seed in range(FILES):
        register(site, "algebra", seed=seed)
    return site


def test_a_killed_backup_is_no_backup_and_the_next_one_clears_it_away(full_site: Site, tmp_path: Path) -> None:
    home, copy = str(full_site.settings.home), tmp_path / "copies" / "monday"
    copy.parent.mkdir()
    kills = 0
    for files in (0, 1, 2, 20, 60, 80):
        arguments = ["backup", str(copy), "--home", home]
        if killed(arguments, when=lambda least=files: count_unfinished(copy.parent, copy.name) >= least):
            kills += 1
            assert not copy.exists()
    assert kills >= 3
    done = subprocess.run(command("backup", str(copy), "--home", home), capture_output=True, text=True, check=True)
    assert f"{2 * FILES + 2} files" in done.stderr
    assert [path.name for path in copy.parent.iterdir()] == ["monday"]
    restore(copy, tmp_path / "new", replace=False, progress=Quiet())


def test_a_killed_restore_leaves_the_old_home_or_the_new_one(full_site: Site, tmp_path: Path) -> None:
    back_up(full_site.settings, tmp_path / "copy", progress=Quiet())
    places = tmp_path / "places"
    before = make_site(places / "home")
    job = before.submit("ok")
    before.database.close()
    kills = 0
    for files in (0, 1, 20, 60, 82, 84):
        arguments = ["restore", str(tmp_path / "copy"), "--home", str(places / "home"), "--replace"]
        if killed(arguments, when=lambda least=files: count_unfinished(places, "home") >= least):
            kills += 1
        there = make_site(places / "home")
        jobs, versions = there.jobs.list().data, len(there.registry.versions("algebra").data) if not_old(there) else 0
        there.database.close()
        assert ([found.id for found in jobs], versions) in (([job.id], 0), ([], FILES))
        if not jobs:
            break
    assert kills >= 3


def not_old(site: Site) -> bool:
    return any(name.name == "algebra" for name in site.registry.list_names("teacher").data)


def test_a_restored_home_starts_and_its_waiting_jobs_finish(tmp_path: Path) -> None:
    environment = stub_environment(tmp_path)
    with running_up(tmp_path / "first", environment=environment) as up, Client(up.base_url) as client:
        row = {"question": "1 + 1?", "solution": "2", "reasoning_trace": "One more."}
        dataset = client.datasets.create([row] * 4)
        spec = {
            "kind": "warmup",
            "role": "teacher",
            "dataset": dataset.id,
            "target_name": "algebra",
            "name": "hang-once",
        }
        running = client.train(spec)
        waiting = client.train(spec | {"name": "ok"})
        client.jobs.pause(waiting.id)
        wait_until(lambda: client.jobs.get(running.id).progress.step == 1, what="the first job runs")
        subprocess.run(command("backup", str(tmp_path / "copy"), "--home", str(up.home)), check=True)
        refused = subprocess.run(
            command("restore", str(tmp_path / "copy"), "--home", str(up.home), "--replace"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 1
        assert f"process {up.pid} at {up.base_url}" in refused.stderr
    subprocess.run(command("restore", str(tmp_path / "copy"), "--home", str(tmp_path / "second")), check=True)
    with running_up(tmp_path / "second", environment=environment) as up, Client(up.base_url) as client:
        client.jobs.resume(waiting.id)
        for job in (running.id, waiting.id):
            wait_until(lambda wanted=job: client.jobs.get(wanted).status == "succeeded", what=f"{job} succeeds")
        assert client.jobs.get(running.id).attempt == 2
        assert [made.version for made in client.teachers.versions("algebra").data] == ["algebra@2", "algebra@1"]
        assert client.explain(question="1 + 1?", solution="2", teacher="algebra").teacher.version.startswith("algebra@")
        assert client.datasets.get(dataset.id) == dataset
