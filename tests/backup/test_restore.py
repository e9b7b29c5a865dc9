"""A restore makes a state folder that works as the copied one did, or changes nothing."""

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from rlt_core.errors import ConfigurationError, InvalidBackupError
from rlt_service.backup.manifest import MANIFEST, Manifest
from rlt_service.backup.restore import restore
from rlt_service.backup.snapshot import back_up
from rlt_service.launch.state_folder import StateFolder
from tests.backup.history import Quiet, register, run_until
from tests.jobs.site import Site, make_site
from tests.support.control import control_app


@pytest.fixture
def backup(site: Site, tmp_path: Path) -> Path:
    """Copy a home with a version that an alias points at."""
    register(site, "algebra")
    back_up(site.settings, tmp_path / "copy", progress=Quiet())
    return tmp_path / "copy"


def restored(backup: Path, home: Path, *, replace: bool = False) -> Path | None:
    return restore(backup, home, replace=replace, progress=Quiet()).former


def test_versions_aliases_and_datasets_of_a_server_that_runs_are_the_same_in_the_copy(tmp_path: Path) -> None:
    question = {"question": "1 + 1?", "solution": "2", "seed": 1}
    with control_app(tmp_path / "home") as control:
        version, dataset = control.version("algebra"), control.upload()
        control.http.put("/v1/aliases/teacher/default", json={"version": version, "expected": "fake@0"})
        back_up(control.services.settings, tmp_path / "copy", progress=Quiet())
        rows = control.http.get(f"/v1/datasets/{dataset}/rows").json()
        said = control.http.post("/v1/explain", json=question).json()
        history = control.http.get("/v1/aliases/teacher/default/history").json()
    shutil.rmtree(tmp_path / "home")  # nothing of it is needed
    restored(tmp_path / "copy", tmp_path / "new")
    with control_app(tmp_path / "new") as control:
        assert control.alias("teacher", "default") == version
        assert control.http.get(f"/v1/datasets/{dataset}/rows").json() == rows
        assert control.http.get("/v1/aliases/teacher/default/history").json() == history
        again = control.http.post("/v1/explain", json=question).json()
        assert again["teacher"]["version"] == version
        assert again["explanations"] == said["explanations"]


def test_jobs_go_on_where_they_were_and_the_running_one_is_not_counted_as_crashed(site: Site, tmp_path: Path) -> None:
    running = site.submit("ok", priority=9)
    attempt = run_until(site, running.id, steps=(2,))
    paused = site.submit("ok")
    site.jobs.pause(paused.id)
    queued = site.submit("ok")
    back_up(site.settings, tmp_path / "copy", progress=Quiet())
    restored(tmp_path / "copy", tmp_path / "new")
    there = make_site(tmp_path / "new")
    try:
        assert [there.jobs.get(job.id).status for job in (running, paused, queued)] == ["queued", "paused", "queued"]
        last = there.jobs.events(running.id)[-1]
        assert (last.type, last.data["crashes"]) == ("requeued", 0)
        assert "restored" in last.data["reason"]
        there.jobs.resume(paused.id)
        ended = [there.run_one() for _ in range(3)]
        assert [(job.id, job.status, job.attempt) for job in ended] == [
            (running.id, "succeeded", attempt + 1),
            (paused.id, "succeeded", 1),
            (queued.id, "succeeded", 1),
        ]
        told = json.loads(there.artifacts.job_file(running.id, attempt + 1).read_text())
        point = Path(told["resume_points"][0]["folder"])
        assert point.is_relative_to(tmp_path / "new")
        assert (point / "manifest.json").is_file()
    finally:
        there.database.close()
    assert site.jobs.get(running.id).status == "running"  # the copied home lives on as it was


def damage(backup: Path, kind: str) -> None:
    manifest = json.loads((backup / MANIFEST).read_text())
    weights = next(file for file in manifest["files"] if file["path"].endswith(".safetensors"))
    victim = backup / weights["path"]
    if kind == "no manifest":
        (backup / MANIFEST).unlink()
    elif kind == "half a manifest":
        (backup / MANIFEST).write_bytes((backup / MANIFEST).read_bytes()[:-20])
    elif kind == "missing":
        victim.unlink()
    elif kind == "flipped":
        content = bytearray(victim.read_bytes())
        content[-1] ^= 1
        victim.write_bytes(content)
    elif kind == "truncated":
        victim.write_bytes(victim.read_bytes()[:-1])
    elif kind == "link":
        moved = victim.rename(backup / "elsewhere")
        victim.symlink_to(moved)
    elif kind == "linked folder":
        moved = victim.parent.rename(backup / "elsewhere")
        victim.parent.symlink_to(moved)
    elif kind == "folder":
        victim.unlink()
        victim.mkdir()
    else:
        _edit(manifest, kind, weights)
        (backup / MANIFEST).write_text(json.dumps(manifest))


def _edit(manifest: dict[str, Any], kind: str, weights: dict[str, Any]) -> None:
    if kind == "newer layout":
        manifest["layout"] = 2
    elif kind == "newer schema":
        manifest["schema_revision"] = "9999"
    elif kind == "twice":
        manifest["files"].append(weights)
    elif kind == "no database":
        manifest["files"] = [file for file in manifest["files"] if file["path"] != "rlt.db"]
    elif kind == "not named":
        manifest["files"].remove(weights)
        manifest["files"] = [file for file in manifest["files"] if "versions" not in file["path"]]
    else:
        weights["path"] = kind


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no manifest", "no manifest"),
        ("half a manifest", "not as this release writes it"),
        ("missing", "lacks the file"),
        ("flipped", "not as it was written"),
        ("truncated", "not as it was written"),
        ("link", "symbolic link"),
        ("linked folder", "symbolic link"),
        ("folder", "lacks the file"),
        ("newer layout", "layout"),
        ("newer schema", "newer RLT.*9999"),
        ("twice", "names a file twice"),
        ("no database", "names no rlt.db"),
        ("not named", "lacks version algebra@1"),
        ("artifacts/../../outside", "no path of a backup"),
        ("/etc/passwd", "no path of a backup"),
        ("artifacts//x", "no path of a backup"),
        ("artifacts/.hidden", "no path of a backup"),
        ("up.lock", "no path of a backup"),
        ("artifacts/a\nb", "no path of a backup"),
    ],
)
def test_what_is_no_whole_backup_is_refused_and_leaves_no_home(
    backup: Path, tmp_path: Path, kind: str, words: str
) -> None:
    damage(backup, kind)
    before = set(tmp_path.iterdir())
    with pytest.raises(InvalidBackupError, match=words):
        restored(backup, tmp_path / "new")
    assert set(tmp_path.iterdir()) == before


def test_a_database_of_a_newer_schema_than_its_manifest_says_is_refused(backup: Path, tmp_path: Path) -> None:
    with sqlite3.connect(backup / "rlt.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    manifest = Manifest.model_validate_json((backup / MANIFEST).read_bytes()).model_dump(mode="json")
    changed = (backup / "rlt.db").read_bytes()
    manifest["files"][0] |= {"size": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
    (backup / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match=r"newer RLT.*9999"):
        restored(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_home_that_holds_something_stays_unless_it_is_to_be_replaced(
    backup: Path, site: Site, tmp_path: Path
) -> None:
    job = site.submit("ok")
    with pytest.raises(ConfigurationError, match="--replace"):
        restored(backup, site.settings.home)
    assert site.jobs.get(job.id).status == "queued"
    site.database.close()
    former = restored(backup, site.settings.home, replace=True)
    assert former is not None
    assert former.name.startswith("home.before-")
    there, then = make_site(site.settings.home), make_site(former)
    assert there.jobs.list().data == []
    assert [found.id for found in then.jobs.list().data] == [job.id]
    there.database.close()
    then.database.close()


def test_a_home_in_use_is_not_replaced(backup: Path, site: Site) -> None:
    with StateFolder(site.settings.home) as folder:
        folder.note(pid=4711, address="http://127.0.0.1:8400")
        with pytest.raises(ConfigurationError, match="process 4711"):
            restored(backup, site.settings.home, replace=True)
        assert (site.settings.home / "server.json").exists()


def test_a_home_on_which_a_server_or_worker_works_without_a_launcher_is_not_replaced(backup: Path, site: Site) -> None:
    at_work = [StateFolder(site.settings.home) for _ in range(2)]
    for each in at_work:
        each.use()  # one beside the other
    for each in at_work:
        with pytest.raises(ConfigurationError, match="A server or a worker works on the state folder"):
            restored(backup, site.settings.home, replace=True)
        each.let_go()
    assert restored(backup, site.settings.home, replace=True) is not None


def test_nobody_begins_to_work_on_a_home_that_is_being_replaced(site: Site) -> None:
    replacing = StateFolder(site.settings.home)
    replacing.take_alone()
    with pytest.raises(ConfigurationError, match="being replaced"):
        StateFolder(site.settings.home).use()
    replacing.let_go()
    StateFolder(site.settings.home).use()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_home_that_is_no_folder_is_refused(backup: Path, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "new"
    if kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="no folder of its own"):
        restored(backup, place)


def test_an_empty_folder_can_become_the_home(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert restored(backup, tmp_path / "new") is None
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"rlt.db", "artifacts"}
