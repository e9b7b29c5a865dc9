"""A backup holds the database as of one moment and every file that it names, whatever happens meanwhile."""

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from rlt_core.errors import ConfigurationError, InconsistentStateError, StorageUnavailableError
from rlt_service.backup.contents import named_artifacts
from rlt_service.backup.manifest import Manifest, read_manifest
from rlt_service.backup.restore import restore
from rlt_service.backup.snapshot import back_up
from rlt_service.settings import Settings
from rlt_service.store.deletion import Deletion
from rlt_service.store.objects import ObjectStore
from tests.backup.history import Quiet, checkpoint, register, run_until
from tests.jobs.site import Site


def paths(manifest: Manifest) -> set[str]:
    return {file.path for file in manifest.files}


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def test_everything_that_the_database_names_is_copied_and_nothing_else(
    site: Site, tmp_path: Path, progress: Quiet
) -> None:
    version = register(site, "algebra")
    job = site.submit("ok")
    attempt = run_until(site, job.id, steps=(2, 4))
    folder = site.artifacts.attempt_dir(job.id, attempt)
    for extra in ("job.json", "trainer.log", "journal/step-5.json", "journal/.step-6.json.part"):
        (folder / extra).parent.mkdir(exist_ok=True)
        (folder / extra).write_text("{}")
    found = paths(back_up(site.settings, tmp_path / "copy", progress=progress))
    here = f"artifacts/jobs/{job.id}/attempt-1"
    adapter = ("adapter_config.json", "adapter_model.safetensors")
    assert found == {
        "rlt.db",
        f"artifacts/datasets/{site.dataset}.jsonl",
        *(f"artifacts/versions/{version.replace('@', '/')}/{name}" for name in adapter),
        f"{here}/job.json",
        f"{here}/journal/step-5.json",
        *(f"{here}/checkpoints/step-{step}/adapter/{name}" for step in (2, 4) for name in adapter),
        *(f"{here}/checkpoints/step-{step}/{name}" for step in (2, 4) for name in ("manifest.json", "state.pt")),
    }
    written = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert written == found | {"manifest.json"}
    assert progress.copied_bytes == sum(progress.total_bytes) > 0


def test_what_machines_share_is_fetched_before_it_is_copied(site: Site, tmp_path: Path, progress: Quiet) -> None:
    url = f"file://{tmp_path}/shared"
    objects, found = ObjectStore.at(url), site.registry.resolve("teacher", register(site, "algebra"))
    assert objects is not None
    assert found.files is not None
    objects.put_version(found.files.path, found.kind, name="algebra", sha256=found.files.sha256)
    whole = paths(back_up(site.settings, tmp_path / "before", progress=progress))
    shutil.rmtree(found.files.path)
    with pytest.raises(InconsistentStateError, match="not there as they were registered"):
        back_up(site.settings, tmp_path / "torn", progress=progress)
    sharing = site.settings.model_copy(update={"artifact_store": url})
    assert paths(back_up(sharing, tmp_path / "copy", progress=progress)) == whole


def test_work_of_jobs_that_have_ended_is_left_out(site: Site, tmp_path: Path, progress: Quiet) -> None:
    job = site.submit("ok")
    attempt = run_until(site, job.id, steps=(2,))
    site.jobs.finish(job.id, attempt, "failed")
    assert not [path for path in paths(back_up(site.settings, tmp_path / "copy", progress=progress)) if "jobs" in path]


def test_policies_of_single_steps_are_in_no_copy(site: Site, tmp_path: Path, progress: Quiet) -> None:
    job = site.submit("ok")
    run_until(site, job.id, steps=())
    with sqlite3.connect(site.settings.home / "rlt.db") as connection:
        connection.execute(
            "INSERT INTO rollouts VALUES (?, 1, 3, ?, 'tiny-model', 'stratos@1', '2030-01-01')", (job.id, "0" * 64)
        )
    connection.close()
    back_up(site.settings, tmp_path / "copy", progress=progress)
    assert rows(tmp_path / "copy" / "rlt.db", "SELECT * FROM rollouts") == []


def test_a_folder_that_holds_something_is_no_place_for_a_backup(site: Site, tmp_path: Path, progress: Quiet) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").touch()
    with pytest.raises(ConfigurationError, match="there already"):
        back_up(site.settings, tmp_path / "copy", progress=progress)


def test_a_state_folder_without_a_database_is_said(tmp_path: Path, progress: Quiet) -> None:
    with pytest.raises(ConfigurationError, match="There is no database"):
        back_up(Settings(home=tmp_path / "none"), tmp_path / "copy", progress=progress)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_said(tmp_path: Path, progress: Quiet) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "rlt.db").write_bytes(b"nothing of the kind " * 1000)
    with pytest.raises(StorageUnavailableError, match="cannot be copied"):
        back_up(Settings(home=tmp_path / "home"), tmp_path / "copy", progress=progress)


class Meddling(Quiet):
    """Does something between snapshot and copy, a number of times."""

    def __init__(self, action: Callable[[], object], *, times: int = 1) -> None:
        super().__init__()
        self._action, self._times = action, times

    @contextmanager
    def copying(self, total_bytes: int) -> Iterator[Callable[[int], None]]:
        if self._times:
            self._times -= 1
            self._action()
        with super().copying(total_bytes) as advance:
            yield advance


def test_what_is_deleted_after_the_snapshot_is_in_neither_database_nor_files(site: Site, tmp_path: Path) -> None:
    version = register(site, "algebra")
    kept = register(site, "geometry", seed=1)
    deletion = Deletion(site.database, site.artifacts)
    progress = Meddling(lambda: (deletion.delete(version), site.datasets.delete(site.dataset)))
    found = paths(back_up(site.settings, tmp_path / "copy", progress=progress))
    assert any("gone meanwhile" in line for line in progress.said)
    assert not [path for path in found if "algebra" in path or "datasets" in path]
    assert [path for path in found if kept.replace("@", "/") in path]
    there = "SELECT name FROM versions WHERE number > 0 AND deleted_at IS NULL"
    assert rows(tmp_path / "copy" / "rlt.db", there) == [("geometry",)]
    assert rows(tmp_path / "copy" / "rlt.db", "SELECT * FROM datasets") == []


def test_a_folder_that_is_half_deleted_when_it_is_copied_is_not_taken_for_the_version(
    site: Site, tmp_path: Path
) -> None:
    version = register(site, "algebra")
    folder = site.artifacts.version_dir("algebra", 1)

    def half() -> None:
        (folder / "adapter_model.safetensors").unlink()

    progress = Meddling(half)
    with pytest.raises(InconsistentStateError, match=rf"version {version} .*delete it by the API"):
        back_up(site.settings, tmp_path / "copy", progress=progress)
    assert not (tmp_path / "copy").exists()
    Deletion(site.database, site.artifacts).delete(version)
    back_up(site.settings, tmp_path / "copy", progress=Quiet())


def test_a_version_whose_files_were_changed_is_not_copied_as_if_it_were_whole(site: Site, tmp_path: Path) -> None:
    register(site, "algebra")
    with (site.artifacts.version_dir("algebra", 1) / "adapter_config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(InconsistentStateError, match="not there as they were registered"):
        back_up(site.settings, tmp_path / "copy", progress=Quiet())


def test_a_link_in_a_version_s_folder_is_refused(site: Site, tmp_path: Path) -> None:
    register(site, "algebra")
    (site.artifacts.version_dir("algebra", 1) / "shadow").symlink_to("/etc/passwd")
    with pytest.raises(InconsistentStateError, match="symbolic link"):
        back_up(site.settings, tmp_path / "copy", progress=Quiet())


def test_a_checkpoint_that_was_superseded_while_it_was_to_be_copied_is_replaced_by_its_successor(
    site: Site, tmp_path: Path
) -> None:
    job = site.submit("ok")
    attempt = run_until(site, job.id, steps=(2,))

    def go_on() -> None:
        checkpoint(site, job.id, attempt, step=4)
        shutil.rmtree(site.artifacts.attempt_dir(job.id, attempt) / "checkpoints" / "step-2")

    found = paths(back_up(site.settings, tmp_path / "copy", progress=Meddling(go_on)))
    assert [path for path in found if "step-4/manifest.json" in path]
    assert not [path for path in found if "step-2" in path]


def test_a_job_whose_checkpoints_are_lost_is_copied_without_and_that_is_said(
    site: Site, tmp_path: Path, progress: Quiet
) -> None:
    job = site.submit("ok")
    folder = site.artifacts.attempt_dir(job.id, run_until(site, job.id, steps=(2,)))
    (folder / "checkpoints" / "step-2" / "state.pt").write_bytes(b"cut")
    found = paths(back_up(site.settings, tmp_path / "copy", progress=progress))
    assert not [path for path in found if "checkpoints" in path]
    assert progress.said[-1] == (
        f"without the checkpoint of step 2 of {job.id}, which is not there whole: that job begins anew after a restore"
    )


def test_copies_made_while_everything_is_written_to_are_whole(site: Site, tmp_path: Path) -> None:
    """Threads submit, upload, register and delete; each copy is restored and held against its own database."""
    register(site, "geometry")
    stop, failures = threading.Event(), list[BaseException]()

    def until_told(action: Callable[[int], object]) -> None:
        count = 0
        try:
            while not stop.is_set():
                count += 1
                action(count)
        except BaseException as error:
            failures.append(error)

    def upload(count: int) -> None:
        with site.artifacts.incoming_file() as path:
            path.write_text('{"question": "q", "solution": "s"}\n' * count)
            made = site.datasets.create(
                name=None, path=path, rows=count, sha256="0" * 64, columns=["question", "solution"], size_bytes=1
            )
        if count % 2:
            site.datasets.delete(made.id)

    def publish(count: int) -> None:
        version = register(site, "algebra", seed=count)
        if count % 2:
            Deletion(site.database, site.artifacts).delete(version)

    actions = (lambda _: site.submit("ok"), upload, publish)
    threads = [threading.Thread(target=until_told, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    try:
        for number in range(5):
            backup = tmp_path / f"copy-{number}"
            back_up(site.settings, backup, progress=Quiet())
            restore(backup, tmp_path / f"home-{number}", replace=False, progress=Quiet())
            check_whole(tmp_path / f"home-{number}")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    counts = [len(read_manifest(tmp_path / f"copy-{number}").files) for number in range(5)]
    assert counts[0] < counts[-1]


def check_whole(home: Path) -> None:
    assert rows(home / "rlt.db", "PRAGMA integrity_check") == [("ok",)]
    assert rows(home / "rlt.db", "PRAGMA foreign_key_check") == []
    engine = create_engine(f"sqlite:///{home / 'rlt.db'}", poolclass=NullPool)
    with engine.connect() as connection:
        named = named_artifacts(connection)
    assert all((home / "artifacts" / item.path).exists() for item in named if item.need == "always")
    assert [item for item in named if item.kind is not None]
