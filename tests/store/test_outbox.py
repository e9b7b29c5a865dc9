from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from rlt_core.schemas.base import now_utc
from rlt_core.schemas.jobs import QUEUE, WarmupSpec
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore
from rlt_service.store.outbox import Outbox


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


def test_a_submission_is_owed_one_bell_until_it_was_rung(jobs: JobStore, outbox: Outbox, warmup: WarmupSpec) -> None:
    jobs.submit(warmup)
    jobs.submit(warmup)
    [(queue, up_to)] = outbox.owed()
    jobs.submit(warmup)
    outbox.rung(queue, up_to=up_to)
    assert [(queue, newer > up_to) for queue, newer in outbox.owed()] == [(QUEUE, True)]


def test_a_job_whose_bell_cannot_be_stored_is_not_stored_either(
    jobs: JobStore, database: Database, warmup: WarmupSpec
) -> None:
    with database.transaction() as session:
        session.execute(text("ALTER TABLE outbox RENAME TO elsewhere"))
    with pytest.raises(DBAPIError):
        jobs.submit(warmup)
    assert jobs.counts() == {}


def test_a_job_of_the_future_is_owed_no_bell_yet(jobs: JobStore, outbox: Outbox, warmup: WarmupSpec) -> None:
    jobs.submit(warmup.model_copy(update={"not_before": now_utc() + timedelta(hours=1)}))
    assert outbox.owed() == []
    assert outbox.waiting() == []


def test_a_claimed_or_cancelled_job_is_owed_nothing(jobs: JobStore, outbox: Outbox, warmup: WarmupSpec) -> None:
    jobs.submit(warmup)
    jobs.claim(queue=QUEUE, worker="w1")
    jobs.cancel(jobs.submit(warmup).id)
    assert outbox.owed() == []
    assert outbox.waiting() == []


def test_a_requeued_or_resumed_job_is_owed_a_bell_again(jobs: JobStore, outbox: Outbox, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    jobs.claim(queue=QUEUE, worker="w1")
    jobs.requeue(job.id, 1, "lease ran out")
    assert [queue for queue, _ in outbox.owed()] == [QUEUE]
    jobs.pause(job.id)
    assert outbox.owed() == []
    jobs.resume(job.id)
    assert [queue for queue, _ in outbox.owed()] == [QUEUE]


def test_only_one_turn_to_ring_again_until_the_quiet_time_is_over(
    jobs: JobStore, outbox: Outbox, warmup: WarmupSpec
) -> None:
    jobs.submit(warmup)
    assert outbox.waiting() == [QUEUE]
    assert [outbox.take_turn(QUEUE) for _ in range(3)] == [True, False, False]


def test_quiet_times_double_up_to_less_than_half_a_minute_and_a_clock_set_back_ends_them(
    jobs: JobStore, outbox: Outbox, warmup: WarmupSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.submit(warmup)
    now = now_utc()
    moments = [now]
    monkeypatch.setattr("rlt_service.store.outbox.now_utc", lambda: moments[0])
    turns: list[float] = []
    for second in range(100):
        moments[0] = now + timedelta(seconds=second)
        if outbox.take_turn(QUEUE):
            turns.append(second)
    assert turns == [0, 5, 15, 35, 55, 75, 95]
    moments[0] = now - timedelta(hours=1)
    assert [outbox.take_turn(QUEUE) for _ in range(2)] == [True, False]


def test_a_claim_starts_the_back_off_anew(jobs: JobStore, outbox: Outbox, warmup: WarmupSpec) -> None:
    jobs.submit(warmup)
    outbox.take_turn(QUEUE)
    jobs.claim(queue=QUEUE, worker="w1")
    assert outbox.take_turn(QUEUE)
