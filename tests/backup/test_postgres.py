"""A Postgres database is copied by pg_dump, of the moment from which the list of files is read."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.jobs import WarmupSpec
from rlt_service.backup.command import run
from rlt_service.backup.databases import libpq_url
from rlt_service.backup.manifest import read_manifest
from rlt_service.backup.snapshot import back_up
from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.jobs import JobStore
from tests.backup.history import Quiet

pytestmark = pytest.mark.processes


@pytest.fixture
def cluster() -> Iterator[str]:
    """Start a server of its own on a socket of its own; gives the URL of its database `postgres`."""
    if any(shutil.which(name) is None for name in ("initdb", "pg_ctl", "pg_dump", "pg_restore")):
        pytest.skip("no Postgres here")
    folder = Path(tempfile.mkdtemp(prefix="rlt-pg-"))  # below /tmp: a socket's path is short
    as_user = []
    if os.getuid() == 0:  # it does not run as root
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data, options = str(folder / "data"), f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    subprocess.run([*as_user, "initdb", "-D", data, "-U", "rlt", "-A", "trust"], check=True, capture_output=True)
    start = [*as_user, "pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd="/")
    try:
        yield f"postgresql+psycopg://rlt@/postgres?host={folder}"
    finally:
        subprocess.run([*as_user, "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, capture_output=True)
        shutil.rmtree(folder)


def test_database_and_files_of_one_moment_come_back(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home", database_url=cluster)
    database = Database(cluster)
    database.start()
    datasets = DatasetStore(database, ArtifactStore(settings.artifacts))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "q", "solution": "s"}\n')
    dataset = datasets.create(name=None, path=rows, rows=1, sha256="0" * 64, columns=["question"], size_bytes=1)
    spec = WarmupSpec(kind="warmup", role="teacher", dataset=dataset.id, target_name="algebra")
    job = JobStore(database).submit(spec)
    manifest = back_up(settings, tmp_path / "copy", progress=Quiet())
    JobStore(database).cancel(job.id)
    database.close()
    assert manifest.database == "postgresql"
    assert {file.path for file in manifest.files} == {"rlt.dump", f"artifacts/datasets/{dataset.id}.jsonl"}
    assert read_manifest(tmp_path / "copy").files == manifest.files

    monkeypatch.setenv("RLT_DATABASE_URL", cluster)
    assert run(["restore", str(tmp_path / "copy"), "--home", str(tmp_path / "new")]) == 0
    assert "The database is not restored yet" in capsys.readouterr().err
    there = libpq_url(make_url(cluster))
    subprocess.run(["psql", there, "-qc", "CREATE DATABASE second"], check=True, capture_output=True)
    second = make_url(cluster).set(database="second")
    dump = str(tmp_path / "new" / "rlt.dump")
    subprocess.run(["pg_restore", "--no-owner", f"--dbname={libpq_url(second)}", dump], check=True)
    restored = Database(second.render_as_string(hide_password=False))
    restored.start()
    assert JobStore(restored).get(job.id).status == "queued"
    assert DatasetStore(restored, ArtifactStore(tmp_path / "new" / "artifacts")).rows(dataset.id).total == 1
    restored.close()


def test_without_pg_dump_it_says_what_to_install(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(cluster)
    database.start()
    database.close()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no pg_dump here: install"):
        back_up(Settings(home=tmp_path / "home", database_url=cluster), tmp_path / "copy", progress=Quiet())


@pytest.mark.parametrize("url", ["postgresql+psycopg://user:secret@host/rlt", "postgresql://user:secret@host/rlt"])
def test_a_password_is_on_no_command_line(url: str) -> None:
    assert libpq_url(make_url(url)) == "postgresql://user@host/rlt"
