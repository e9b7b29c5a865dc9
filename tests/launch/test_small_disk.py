"""A real disk of a few megabytes, filled or read-only under a whole `rlt up`: nothing false is said, nothing lost."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlt_client import APIStatusError, Client
from rlt_core.schemas.jobs import TERMINAL, Job
from tests.jobs.site import gone, stub_environment
from tests.support.server import running_up
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

SIZE_MIB = 96
ROW = {"question": "1 + 1?", "solution": "2", "reasoning_trace": "One more."}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", size_mib=SIZE_MIB) as disk:
        yield disk


def warmup(dataset: str, name: str) -> dict[str, object]:
    return {"kind": "warmup", "role": "teacher", "dataset": dataset, "target_name": "algebra", "name": name}


def check_refused(action: Callable[[], object]) -> None:
    with pytest.raises(APIStatusError) as caught:
        action()
    assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")


def unready(client: Client) -> dict[str, str]:
    """Give what /readyz finds wrong."""
    return {name: check.detail for name, check in client.ready().checks.items() if not check.ok}


def test_a_job_on_a_disk_that_fills_pauses_with_its_last_checkpoint_whole_and_goes_on_when_there_is_room(
    disk: SmallDisk, tmp_path: Path
) -> None:
    # The database lies elsewhere: on the full disk itself not even `paused` could be written.
    environment = stub_environment(tmp_path) | {"RLT_DATABASE_URL": f"sqlite:///{tmp_path / 'rlt.db'}"}
    with (
        running_up(disk.path / "home", environment=environment, within=disk.command()) as up,
        Client(up.base_url, max_retries=0) as client,
    ):
        dataset = client.datasets.create([ROW] * 4)
        job = client.train(warmup(dataset.id, "saves-once"))
        wait_until(lambda: bool(told(client, job)), what="it has saved")
        disk.fill()
        wait_until(lambda: client.jobs.get(job.id).status == "paused", what="it pauses", timeout_s=60.0)
        error = client.jobs.get(job.id).error
        assert error is not None
        assert error.code == "disk_full"
        folder = disk.seen / "home" / "artifacts" / "jobs" / job.id / "attempt-1" / "checkpoints"
        step, sha256 = told(client, job)[-1]
        assert whole(folder / f"step-{step}", sha256)
        check_refused(lambda: client.datasets.create([ROW] * 4000))
        assert "Free some space" in unready(client)["artifacts"]
        assert client.explain(question="1 + 1?", solution="2").engine.name == "fake"
        disk.free()
        wait_until(lambda: not unready(client), what="it is ready again")
        client.jobs.resume(job.id)
        wait_until(lambda: client.jobs.get(job.id).status == "succeeded", what="it goes on", timeout_s=60.0)
        assert client.jobs.get(job.id).attempt == 2


def test_a_job_whose_folder_becomes_read_only_pauses_with_its_last_checkpoint_whole_and_goes_on_afterwards(
    disk: SmallDisk, tmp_path: Path
) -> None:
    environment = stub_environment(tmp_path) | {"RLT_DATABASE_URL": f"sqlite:///{tmp_path / 'rlt.db'}"}
    artifacts = disk.path / "home" / "artifacts"
    with (
        running_up(disk.path / "home", environment=environment, within=disk.command()) as up,
        Client(up.base_url, max_retries=0) as client,
    ):
        dataset = client.datasets.create([ROW] * 4)
        job = client.train(warmup(dataset.id, "saves-once"))
        wait_until(lambda: bool(told(client, job)), what="it has saved")
        with disk.read_only(artifacts):
            wait_until(lambda: client.jobs.get(job.id).status == "paused", what="it pauses", timeout_s=60.0)
            error = client.jobs.get(job.id).error
            assert error is not None
            assert (error.code, "writable" in error.remedy) == ("disk_full", True)
            folder = disk.seen / "home" / "artifacts" / "jobs" / job.id / "attempt-1" / "checkpoints"
            step, sha256 = told(client, job)[-1]
            assert whole(folder / f"step-{step}", sha256)
            check_refused(lambda: client.datasets.create([ROW] * 4))
            wait_until(lambda: set(unready(client)) == {"artifacts"}, what="it is not ready")
            assert client.explain(question="1 + 1?", solution="2").engine.name == "fake"
        wait_until(lambda: not unready(client), what="it is ready again")
        client.jobs.resume(job.id)
        wait_until(lambda: client.jobs.get(job.id).status == "succeeded", what="it goes on", timeout_s=60.0)
        assert client.jobs.get(job.id).attempt == 2


def told(client: Client, job: Job) -> list[tuple[int, str]]:
    events = client.jobs.events_after(job.id, limit=1000).data
    return [(event.data["step"], event.data["manifest_sha256"]) for event in events if event.type == "checkpoint"]


def whole(folder: Path, manifest_sha256: str) -> bool:
    manifest = (folder / "manifest.json").read_bytes()
    files = json.loads(manifest)["files"]
    return hashlib.sha256(manifest).hexdigest() == manifest_sha256 and all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == facts["sha256"] for name, facts in files.items()
    )


def test_on_a_full_disk_nothing_is_accepted_that_is_not_stored_and_everything_is_read(
    disk: SmallDisk, tmp_path: Path
) -> None:
    with (
        running_up(disk.path / "home", environment=stub_environment(tmp_path), within=disk.command()) as up,
        Client(up.base_url, max_retries=0) as client,
    ):
        dataset = client.datasets.create([ROW] * 4)
        first = client.train(warmup(dataset.id, "ok"))
        wait_until(lambda: client.jobs.get(first.id).status == "succeeded", what="the first job is done")
        disk.fill()
        accepted = [first.id, *accepted_until_refused(client, dataset.id)]
        check_refused(lambda: client.datasets.create([ROW] * 40))
        assert set(unready(client)) == {"database", "artifacts"}
        assert client.explain(question="1 + 1?", solution="2").engine.name == "fake"
        assert client.datasets.rows(dataset.id).total == 4
        assert {job.id for job in client.jobs.list(limit=100).data} == set(accepted)
        disk.free()
        wait_until(lambda: not unready(client), what="it is ready again")
        accepted.append(client.train(warmup(dataset.id, "ok")).id)
        wait_until(lambda: all_ended_well(client, accepted), what="all that was accepted is done", timeout_s=120.0)


def accepted_until_refused(client: Client, dataset: str) -> list[str]:
    """Submit until nothing more is taken: the write-ahead log may have room of its own for a while."""
    accepted: list[str] = []
    for _ in range(500):
        try:
            accepted.append(client.train(warmup(dataset, "ok")).id)
        except APIStatusError:
            break
    check_refused(lambda: client.train(warmup(dataset, "ok")))
    return accepted


def test_a_job_on_a_disk_that_fills_under_the_database_too_pauses_once_there_is_a_little_room_and_goes_on(
    disk: SmallDisk, tmp_path: Path
) -> None:
    with (
        running_up(disk.path / "home", environment=stub_environment(tmp_path), within=disk.command()) as up,
        Client(up.base_url, max_retries=0) as client,
    ):
        dataset = client.datasets.create([ROW] * 4)
        job = client.train(warmup(dataset.id, "saves-once"))
        wait_until(lambda: bool(told(client, job)), what="it has saved")
        assert client.jobs.get(job.id).status == "running"
        disk.fill()
        accepted = [job.id, *accepted_until_refused(client, dataset.id)]
        attempt = disk.seen / "home" / "artifacts" / "jobs" / job.id / "attempt-1"
        pids = [int(pid) for pid in (attempt / "pids").read_text().split()]
        wait_until(lambda: gone(pids), what="its trainer ends")
        # `paused` only where the log of the database had room left for it.
        assert client.jobs.get(job.id).status in ("running", "paused")
        step, sha256 = told(client, job)[-1]
        assert whole(attempt / "checkpoints" / f"step-{step}", sha256)
        disk.free()
        wait_until(lambda: client.jobs.get(job.id).status == "paused", what="it pauses", timeout_s=20.0)
        error = client.jobs.get(job.id).error
        assert error is not None
        assert error.code == "disk_full"
        client.jobs.resume(job.id)
        wait_until(lambda: all_ended_well(client, accepted), what="all that was accepted is done", timeout_s=120.0)
        assert client.jobs.get(job.id).attempt == 2
        events = client.jobs.events_after(job.id, limit=1000).data
        assert [event.type for event in events if event.type in TERMINAL] == ["succeeded"]
        made = [version for version in client.teachers.iter_versions("algebra") if version.job == job.id]
        assert len(made) == 1


def all_ended_well(client: Client, ids: list[str]) -> bool:
    statuses: dict[str, str] = {}
    for id_ in ids:
        job = client.jobs.get(id_)
        if job.status == "paused":  # it met the full disk
            client.jobs.resume(id_)
        statuses[id_] = job.status
    return set(statuses.values()) == {"succeeded"}


def test_a_read_only_disk_is_refused_at_start_and_left_as_it_was(disk: SmallDisk, tmp_path: Path) -> None:
    home = disk.path / "home"
    with (
        running_up(home, environment=stub_environment(tmp_path), within=disk.command()) as up,
        Client(up.base_url, max_retries=0) as client,
    ):
        dataset = client.datasets.create([ROW] * 4)
    disk.mount_again("ro")
    command = [sys.executable, "-m", "rlt_client", "up", "--engine", "fake", "--home", str(home)]
    done = subprocess.run(disk.command(*command), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "read-only file system: mount it for writing" in done.stderr
    assert "Traceback" not in done.stderr
    disk.mount_again("rw")
    with (
        running_up(home, environment=stub_environment(tmp_path), within=disk.command()) as up,
        Client(up.base_url, max_retries=0) as client,
    ):
        assert client.datasets.get(dataset.id) == dataset
