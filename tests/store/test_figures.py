"""The figures of an installation, on both databases: what waits, since when, what has ended, how often it was tried."""

from datetime import timedelta

import pytest

from rlt_core.schemas.base import now_utc
from rlt_core.schemas.jobs import QUEUE, RlSpec, WarmupSpec
from rlt_service.store.database import Database
from rlt_service.store.figures import FiguresStore
from rlt_service.store.jobs import JobStore
from rlt_service.store.tables import JobEventRow


def test_an_empty_installation_has_nothing(database: Database) -> None:
    found = FiguresStore(database).read()
    assert (found.jobs, found.retries, found.queues, found.started) == ({}, {}, {}, [])
    assert (found.busy_workers, found.bells) == (0, 0)
    assert (found.datasets, found.dataset_rows, found.dataset_bytes) == (0, 0, 0)


def test_jobs_are_counted_by_kind_and_state_and_attempts_beyond_the_first(
    database: Database, jobs: JobStore, warmup: WarmupSpec, rl: RlSpec
) -> None:
    first = jobs.submit(warmup)
    jobs.submit(rl)
    jobs.submit(warmup)
    for _ in range(2):
        claimed = jobs.claim(queue=QUEUE, worker="a")
        assert claimed is not None
        assert claimed.job.id == first.id
        jobs.requeue(first.id, claimed.attempt, "the worker left", crash=False)
    last = jobs.claim(queue=QUEUE, worker="a")
    assert last is not None
    jobs.finish(first.id, last.attempt, "failed")
    assert jobs.claim(queue=QUEUE, worker="b") is not None
    found = FiguresStore(database).read()
    assert found.jobs == {("warmup", "failed"): 1, ("rl", "running"): 1, ("warmup", "queued"): 1}
    assert found.retries == {"warmup": 2, "rl": 0}
    assert (found.queues[QUEUE].waiting, found.busy_workers, found.bells) == (1, 1, 1)
    assert [job.queue for job in found.started] == [QUEUE, QUEUE]


def test_the_oldest_has_waited_since_it_came_to_the_queue_or_its_time_came(
    database: Database, jobs: JobStore, warmup: WarmupSpec
) -> None:
    job = jobs.submit(warmup)
    later = now_utc() + timedelta(hours=1)
    jobs.submit(warmup.model_copy(update={"not_before": later}))
    with database.transaction() as session:
        event = session.get(JobEventRow, (job.id, 1))
        assert event is not None
        event.created_at -= timedelta(seconds=90)
    found = FiguresStore(database).read()
    assert found.queues[QUEUE].waiting == 1
    assert found.queues[QUEUE].oldest_s == pytest.approx(90, abs=20)
    assert found.bells == 1
    claimed = jobs.claim(queue=QUEUE, worker="a")
    assert claimed is not None
    jobs.requeue(job.id, claimed.attempt, "the worker left")
    assert FiguresStore(database).read().queues[QUEUE].oldest_s < 20
