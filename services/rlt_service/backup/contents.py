"""Own the list of files that a database names under the artifact root. Plain SQL, which every schema so far reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import JSON, Connection, Integer, bindparam, inspect, text

from rlt_core.artifacts import Kind
from rlt_core.collected import FOLDER as SHARDS
from rlt_core.schemas.jobs import TERMINAL

Need = Literal["always", "progress", "extra"]
"""always: without it the copy is torn. progress: without it a job begins anew. extra: taken where it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A file or folder that rows of a database name, below the artifact root."""

    path: str
    need: Need
    what: str
    """For messages: whose it is."""
    kind: Kind | None = None
    sha256: str | None = None
    """Of a version: as registered. Of a checkpoint: of its manifest."""
    dataset_sha256: str | None = None
    """Of a dataset: as registered."""


def named_artifacts(connection: Connection) -> list[Named]:
    """List everything that a resumed, serving copy of this database needs.

    Work of jobs that have ended is not in it, nor imports that were never registered, nor what lies in caches: no row
    names it.
    """
    return [*_datasets(connection), *_versions(connection), *_jobs(connection)]


def _datasets(connection: Connection) -> Iterator[Named]:
    for dataset, sha256 in connection.execute(text("SELECT id, sha256 FROM datasets ORDER BY ordinal")):
        path = f"datasets/{dataset}.jsonl"
        yield Named(path=path, need="always", what=f"dataset {dataset}", dataset_sha256=sha256)


def _versions(connection: Connection) -> Iterator[Named]:
    columns = {column["name"] for column in inspect(connection).get_columns("versions")}
    weights = "weights_sha256" if "weights_sha256" in columns else "NULL"
    there = " AND deleted_at IS NULL" if "deleted_at" in columns else ""
    query = f"SELECT name, number, adapter_sha256, {weights} FROM versions WHERE number > 0{there} ORDER BY ordinal"
    for name, number, adapter, whole in connection.execute(text(query)):
        yield Named(
            path=f"versions/{name}/{number}",
            need="always",
            what=f"version {name}@{number}",
            kind="adapter" if adapter is not None else "full",
            sha256=adapter or whole,
        )


def _jobs(connection: Connection) -> Iterator[Named]:
    query = text("SELECT id, attempt FROM jobs WHERE status NOT IN :ended ORDER BY ordinal")
    live = connection.execute(query.bindparams(bindparam("ended", list(TERMINAL), expanding=True))).all()
    for job, attempts in live:
        for attempt in range(1, attempts + 1):
            folder = f"jobs/{job}/attempt-{attempt}"
            yield Named(path=f"{folder}/job.json", need="extra", what=f"what attempt {attempt} of {job} was told")
            yield Named(path=f"{folder}/journal", need="extra", what=f"the rollouts of attempt {attempt} of {job}")
            yield Named(path=f"{folder}/{SHARDS}", need="extra", what=f"what attempt {attempt} of {job} collected")
        yield from _checkpoints(connection, job)


def _checkpoints(connection: Connection, job: str) -> Iterator[Named]:
    events = text(
        "SELECT attempt, data FROM job_events WHERE job_id = :job AND type = 'checkpoint' ORDER BY seq DESC LIMIT 20"
    ).columns(attempt=Integer, data=JSON)
    told = [
        (data["step"], attempt, data["manifest_sha256"]) for attempt, data in connection.execute(events, {"job": job})
    ]
    for place, (step, attempt, sha256) in enumerate(sorted(told, reverse=True)):
        yield Named(
            path=f"jobs/{job}/attempt-{attempt}/checkpoints/step-{step}",
            need="progress" if place == 0 else "extra",
            what=f"the checkpoint of step {step} of {job}",
            sha256=sha256,
        )
