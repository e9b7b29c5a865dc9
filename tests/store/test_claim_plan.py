"""A claim among many that wait reads the next job alone: asked of the planner of both databases."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from rlt_core.schemas.jobs import QUEUE, WarmupSpec
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore
from rlt_service.store.new_jobs import new_row

WAITING = 2_000
EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}
SORTS = ("TEMP B-TREE", "Sort")
"""How either planner says that it reads all rows before it knows the first one."""


@contextmanager
def selects_of_jobs() -> Iterator[list[tuple[str, Any]]]:
    """Take down what is asked of the jobs: statements with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, _context: object, _many: bool) -> None:
        if statement.startswith("SELECT jobs.") and "ORDER BY" in statement:
            seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def plan_of(connection: Connection, statement: str, parameters: Any) -> Sequence[str]:
    rows = connection.exec_driver_sql(EXPLAIN[connection.dialect.name] + statement, parameters)
    return [str(row[-1]) for row in rows]


@pytest.fixture
def crowded(database: Database, jobs: JobStore, warmup: WarmupSpec) -> JobStore:
    """Fill a queue with very many that wait, one of them urgent."""
    specs = [warmup.model_copy(update={"priority": 7 if number == WAITING // 2 else 0}) for number in range(WAITING)]
    with database.transaction() as session:
        session.add_all([new_row(spec, queue=QUEUE, owner=None, submitter=None) for spec in specs])
        session.flush()
        if session.get_bind().dialect.name == "postgresql":  # which does so by itself, some time later
            session.execute(text("ANALYZE"))
    return jobs


def test_a_claim_and_a_look_sort_none_of_those_that_wait(database: Database, crowded: JobStore) -> None:
    with selects_of_jobs() as seen:
        claimed = crowded.claim(queue=QUEUE, worker="w1")
        assert crowded.waits(QUEUE)
    assert claimed is not None
    assert claimed.job.spec.priority == 7
    assert len(seen) == 2
    with database.transaction() as session:
        plans = [plan_of(session.connection(), *asked) for asked in seen]
    for plan in plans:
        assert any("ix_jobs_claims" in line for line in plan), plan
        assert not [line for line in plan for sign in SORTS if sign in line], plan
