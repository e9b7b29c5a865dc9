"""Every schema so far is brought to today's with what it holds; broken off anywhere, and by several at once."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from rlt_core.schemas.base import now_utc
from rlt_core.schemas.jobs import Progress, WarmupSpec
from rlt_core.schemas.teachers import Difference, Evaluation
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.idempotency import FirstAnswers
from rlt_service.store.jobs import JobStore
from rlt_service.store.keys import KeyStore
from rlt_service.store.migration import MIGRATIONS, migration_config
from rlt_service.store.registry import Registry
from tests.support.control import evaluation_row

REVISIONS = [revision.revision for revision in reversed(list(ScriptDirectory(str(MIGRATIONS)).walk_revisions()))]
HEAD = REVISIONS[-1]
JOB, DATASET, EVALUATION = "job_" + "0" * 20, "ds_" + "0" * 20, "eval_" + "0" * 20
PIPELINE = "job_" + "1" * 20
KEY = "a" * 12
LONG_AGO = "2030-01-01 00:00:00.000000"
NOTHING = Difference(mean=0.5, ci_low=0.1, ci_high=0.9, n=2)

MIGRATE = """
import os, signal, sys
from sqlalchemy import Engine, event
from rlt_service.store.database import Database
left = int(sys.argv[2])
def count(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
event.listen(Engine, "before_cursor_execute", count)
database = Database(sys.argv[1])
database.start()
database.close()
"""
"""A starter that dies before its Nth statement; 0 is never."""


def _rows() -> dict[str, list[dict[str, Any]]]:
    """Give rows of every table that an installation fills; a column that a schema lacks is left out of them."""
    spec = WarmupSpec(kind="warmup", role="teacher", dataset=DATASET, target_name="algebra")
    answers = [evaluation_row(version=version, number=1, reward=-1.0) for version in ("tiny@0", "algebra@1")]
    evaluation = Evaluation(
        id=EVALUATION,
        created_at=now_utc(),
        before="tiny@0",
        after="algebra@1",
        student="tiny@0",
        format="stratos@1",
        metrics={},
        difference=NOTHING,
        difference_r_ss=NOTHING,
    )
    version = {"role": "teacher", "created_at": LONG_AGO, "base_model": "tiny-model", "format": "stratos@1"}
    alias = {"role": "teacher", "alias": "default", "version": "algebra@1"}
    return {
        "jobs": [
            {
                "id": JOB,
                "kind": "warmup",
                "queue": "train",
                "status": "queued",
                "priority": 0,
                "created_at": LONG_AGO,
                "attempt": 1,
                "beat": 7,
                "cancel_requested": 0,
                "crashes": 0,
                "best_step": 2,
                "last_seq": 1,
                "spec": spec.model_dump_json(),
                "progress": Progress(total=4).model_dump_json(),
            },
            {
                "id": PIPELINE,
                "kind": "pipeline",
                "queue": "pipeline",
                "status": "cancelled",
                "priority": 0,
                "created_at": LONG_AGO,
                "attempt": 0,
                "beat": 0,
                "cancel_requested": 0,
                "crashes": 0,
                "best_step": 0,
                "last_seq": 0,
                "spec": "{}",
                "progress": "{}",
            },
        ],
        "job_events": [{"job_id": JOB, "seq": 1, "attempt": 0, "created_at": LONG_AGO, "type": "queued", "data": "{}"}],
        "outbox": [{"queue": "train", "job_id": JOB}],
        "bells": [{"queue": "train", "rings": 1, "quiet_until": LONG_AGO}],
        "datasets": [
            {
                "id": DATASET,
                "created_at": LONG_AGO,
                "rows": 1,
                "size_bytes": 1,
                "sha256": "0" * 64,
                "columns": '["question", "solution"]',
            }
        ],
        "versions": [
            version | {"name": "tiny", "number": 0, "ensured_at": LONG_AGO},
            version | {"name": "algebra", "number": 1, "adapter_sha256": "1" * 64, "lora_rank": 4, "parent": "tiny@0"},
        ],
        "rollouts": [
            {
                "job_id": JOB,
                "attempt": 1,
                "step": 2,
                "sha256": "2" * 64,
                "base_model": "tiny-model",
                "format": "stratos@1",
                "created_at": LONG_AGO,
            }
        ],
        "aliases": [alias | {"updated_at": LONG_AGO}],
        "alias_changes": [alias | {"previous": "tiny@0", "created_at": LONG_AGO, "reason": "better"}],
        "evaluations": [
            {"id": EVALUATION, "before": "tiny@0", "after": "algebra@1", "body": evaluation.model_dump_json()}
        ],
        "evaluation_rows": [
            {"evaluation_id": EVALUATION, "position": place, "body": answer.model_dump_json()}
            for place, answer in enumerate(answers)
        ],
        "keys": [
            {"id": KEY, "name": "ann", "sha256": "4" * 64, "scopes": '["train"]', "created_at": LONG_AGO},
            {"id": "0" * 12, "name": f"{JOB}, attempt 1", "sha256": "5" * 64, "scopes": '["score"]'}
            | {"created_at": LONG_AGO, "job_id": JOB, "attempt": 1},
        ],
        "pipeline_steps": [
            {"pipeline_id": PIPELINE, "round": 1, "step": "a", "job_id": JOB, "taken_over": 0, "ended": 0}
        ],
        "version_uses": [{"process": "a", "version": "algebra@1", "beat": 3}],
        "idempotent_calls": [
            {
                "key": "k",
                "fingerprint": "3" * 64,
                "status": 202,
                "headers": "{}",
                "body": b"{}",
                "created_at": now_utc().replace(tzinfo=None).isoformat(" "),
            }
        ],
    }


def lay_schema_of(revision: str, path: Path) -> dict[str, int]:
    """Make a database as that revision left it, with rows; gives how many by table."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.begin() as connection:
        command.upgrade(migration_config(connection), revision)
    engine.dispose()
    counts: dict[str, int] = {}
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for table, rows in _rows().items():
            columns = {column[1] for column in connection.execute(f"PRAGMA table_info({table})")}
            for row in rows if columns else []:
                fields = {name: value for name, value in row.items() if name in columns}
                names, marks = ", ".join(f'"{name}"' for name in fields), ", ".join("?" * len(fields))
                connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(fields.values()))
                counts[table] = counts.get(table, 0) + 1
        connection.commit()
    return counts


def migrate(path: Path, *, die_at: int = 0) -> int:
    """Start a process that opens the database; gives its exit code."""
    arguments = [sys.executable, "-c", MIGRATE, f"sqlite:///{path}", str(die_at)]
    return subprocess.run(arguments, check=False).returncode


def revision_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def schema_of(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def check_rows(path: Path, counts: dict[str, int]) -> None:
    """See that nothing is missing, and that today's stores read it."""
    assert revision_of(path) == HEAD
    with closing(sqlite3.connect(path)) as connection:
        found = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in counts}
        assert found == counts
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    database = Database(f"sqlite:///{path}")
    database.start()
    artifacts = ArtifactStore(path.parent / "artifacts")
    jobs, registry = JobStore(database), Registry(database, artifacts)
    job = jobs.get(JOB)
    assert isinstance(job.spec, WarmupSpec)
    assert (job.status, job.attempt, job.spec.target_name) == ("queued", 1, "algebra")
    assert [event.type for event in jobs.events(JOB)] == ["queued"]
    assert DatasetStore(database, artifacts).get(DATASET).columns == ["question", "solution"]
    assert registry.get_version("algebra@1").parent == "tiny@0"
    assert registry.get_alias("teacher", "default").version == "algebra@1"
    assert [move.reason for move in registry.alias_history("teacher", "default").data] == ["better"]
    assert registry.get_evaluation(EVALUATION).difference == NOTHING
    assert len(registry.evaluation_rows(EVALUATION).data) == 2
    if "idempotent_calls" in counts:
        assert FirstAnswers(database).find("k") is not None
    if "keys" in counts:
        assert [(key.id, key.scopes, key.owner) for key in KeyStore(database).list()] == [(KEY, ("train",), KEY)]
    claimed = jobs.claim(queue="train", worker="test")
    assert claimed is not None
    assert claimed.attempt == 2
    database.close()


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_schema_so_far_is_brought_up_with_what_it_holds(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "rlt.db"
    counts = lay_schema_of(revision, path)
    database = Database(f"sqlite:///{path}")
    database.start()
    database.close()
    check_rows(path, counts)


@pytest.mark.processes
def test_a_migration_that_is_killed_anywhere_has_changed_nothing_and_the_next_one_does_all(tmp_path: Path) -> None:
    template, kills = tmp_path / "template.db", 0
    counts = lay_schema_of(REVISIONS[0], template)
    before = schema_of(template)
    for die_at in (2, 4, 7, 10, 13, 16, 20, 25):
        path = tmp_path / f"{die_at}" / "rlt.db"
        path.parent.mkdir()
        path.write_bytes(template.read_bytes())
        if migrate(path, die_at=die_at) == 0:
            break  # it has fewer statements
        kills += 1
        assert (revision_of(path), schema_of(path)) == (REVISIONS[0], before)
        assert migrate(path) == 0
        check_rows(path, counts)
    assert kills >= 5


@pytest.mark.processes
def test_several_processes_that_migrate_at_once_bring_it_up_once(tmp_path: Path) -> None:
    path = tmp_path / "rlt.db"
    counts = lay_schema_of(REVISIONS[0], path)
    arguments = [sys.executable, "-c", MIGRATE, f"sqlite:///{path}", "0"]
    starters = [subprocess.Popen(arguments) for _ in range(4)]
    assert [starter.wait(timeout=60) for starter in starters] == [0] * 4
    check_rows(path, counts)
