import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from rlt_core.errors import (
    InvalidRequestError,
    JobStateError,
    NotFoundError,
    StaleAttemptError,
)
from rlt_core.schemas.base import now_utc
from rlt_core.schemas.jobs import QUEUE, SPEC_VERSION, JobError, JobResult, JobStatus, Progress, RlSpec, WarmupSpec
from rlt_service.store.database import Database
from rlt_service.store.job_rules import JobRules
from rlt_service.store.jobs import ClaimedJob, JobStore
from rlt_service.store.outbox import Outbox
from rlt_service.store.tables import JobRow

LOST = JobError(code="worker_lost", message="gone")


def claim(jobs: JobStore) -> ClaimedJob:
    claimed = jobs.claim(queue=QUEUE, worker="w1")
    assert claimed is not None
    return claimed


def event_types(jobs: JobStore, job_id: str) -> list[str]:
    return [event.type for event in jobs.events(job_id)]


def test_a_submitted_job_comes_back_as_it_was_asked_for(jobs: JobStore, rl: RlSpec) -> None:
    job = jobs.submit(rl.model_copy(update={"name": "first"}))
    assert jobs.get(job.id) == job
    assert (job.status, job.attempt, job.name, job.kind) == ("queued", 0, "first", "rl")
    assert job.progress == Progress(step=0, total=5)
    assert event_types(jobs, job.id) == ["queued"]


def test_twenty_threads_claim_fifty_jobs_and_none_twice(jobs: JobStore, warmup: WarmupSpec) -> None:
    submitted = {jobs.submit(warmup).id for _ in range(50)}
    claimed: list[tuple[str, int]] = []

    def work(worker: str) -> None:
        while (got := jobs.claim(queue=QUEUE, worker=worker)) is not None:
            claimed.append((got.job.id, got.attempt))

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 50
    assert set(claimed) == {(job_id, 1) for job_id in submitted}


class Overtaken(JobStore):
    """Between its look at the queue and its claim, another takes the row, and may give it back."""

    def __init__(self, database: Database, *, leaves_it: JobStatus) -> None:
        super().__init__(database)
        self._leaves_it = leaves_it

    def _next(self, session: Session, queue: str, *, lock: bool = True) -> JobRow | None:
        row = super()._next(session, queue, lock=lock)
        if row is not None:
            taken = (
                update(JobRow).where(JobRow.id == row.id).values(status=self._leaves_it, attempt=1, worker="another")
            )
            session.execute(taken.execution_options(synchronize_session=False))
        return row


@pytest.mark.parametrize("status", ["running", "queued"])
def test_a_claim_of_a_row_that_another_took_meanwhile_takes_nothing(
    jobs: JobStore, database: Database, warmup: WarmupSpec, status: JobStatus
) -> None:
    job = jobs.submit(warmup)
    claimed = Overtaken(database, leaves_it=status).claim(queue=QUEUE, worker="w1")
    assert claimed is None
    with database.reading() as session:
        row = session.scalars(select(JobRow).where(JobRow.id == job.id)).one()
        assert (row.attempt, row.worker) == (1, "another")


def test_the_next_job_is_the_one_of_highest_priority_then_the_oldest(jobs: JobStore, warmup: WarmupSpec) -> None:
    low, first, second = (jobs.submit(warmup.model_copy(update={"priority": priority})).id for priority in (-1, 5, 5))
    assert [claim(jobs).job.id for _ in range(3)] == [first, second, low]


def test_a_job_is_not_claimed_before_its_time(jobs: JobStore, warmup: WarmupSpec) -> None:
    later = now_utc() + timedelta(hours=1)
    waiting = jobs.submit(warmup.model_copy(update={"not_before": later, "priority": 100}))
    due = jobs.submit(warmup.model_copy(update={"not_before": now_utc() - timedelta(seconds=1)}))
    assert claim(jobs).job.id == due.id
    assert jobs.claim(queue=QUEUE, worker="w1") is None
    assert jobs.get(waiting.id).status == "queued"


def test_a_clock_that_is_set_back_an_hour_prolongs_no_pause_of_a_job_that_ran(
    database: Database, jobs: JobStore, warmup: WarmupSpec
) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    jobs.requeue(job.id, 1, "unfit", crash=False, later_s=60.0)
    assert jobs.claim(queue=QUEUE, worker="w1") is None
    with database.transaction() as session:  # the row as a clock that is an hour behind finds it
        row = session.scalars(select(JobRow)).one()
        assert row.not_before is not None
        row.not_before += timedelta(hours=1)
    assert Outbox(database).waiting() == [QUEUE]
    assert claim(jobs).attempt == 2


def test_a_job_of_another_queue_is_left_alone(jobs: JobStore, warmup: WarmupSpec) -> None:
    jobs.submit(warmup)
    assert jobs.claim(queue="elsewhere", worker="w1") is None


@pytest.mark.parametrize(
    "write",
    [
        lambda jobs, id_, attempt: jobs.beat(id_, attempt),
        lambda jobs, id_, attempt: jobs.save_progress(id_, attempt, Progress(step=1)),
        lambda jobs, id_, attempt: jobs.append_event(id_, attempt, "log", {}),
        lambda jobs, id_, attempt: jobs.record(id_, attempt, [("log", {})], progress=Progress(step=1)),
        lambda jobs, id_, attempt: jobs.finish(id_, attempt, "succeeded", result=JobResult()),
        lambda jobs, id_, attempt: jobs.requeue(id_, attempt, "again"),
        lambda jobs, id_, attempt: jobs.suspend(id_, attempt, LOST),
    ],
    ids=["beat", "progress", "event", "record", "finish", "requeue", "suspend"],
)
def test_every_write_of_an_attempt_that_lost_its_lease_is_refused(
    jobs: JobStore, warmup: WarmupSpec, write: Callable[[JobStore, str, int], object]
) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    jobs.requeue(job.id, 1, "lease ran out")
    with pytest.raises(StaleAttemptError):
        write(jobs, job.id, 1)
    claim(jobs)
    before = jobs.get(job.id), event_types(jobs, job.id)
    with pytest.raises(StaleAttemptError, match="running at attempt 2"):
        write(jobs, job.id, 1)
    assert (jobs.get(job.id), event_types(jobs, job.id)) == before


def test_a_beat_counts_and_brings_a_cancellation_back(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    assert not jobs.beat(job.id, 1).cancel_requested
    assert [(row.id, row.attempt, row.beat) for row in jobs.running()] == [(job.id, 1, 1)]
    jobs.cancel(job.id)
    assert jobs.beat(job.id, 1).cancel_requested


def test_a_new_attempt_counts_its_beats_from_zero(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    jobs.beat(job.id, 1)
    jobs.requeue(job.id, 1, "lease ran out")
    claim(jobs)
    assert [(row.attempt, row.beat) for row in jobs.running()] == [(2, 0)]


def test_a_finished_job_has_its_result_and_one_terminal_event(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    jobs.record(job.id, 1, [("log", {"message": "hello"}), ("progress", {"step": 2})], progress=Progress(step=2))
    done = jobs.finish(job.id, 1, "succeeded", result=JobResult(teacher="algebra@1"))
    assert done.result == JobResult(teacher="algebra@1")
    assert done.progress.step == 2
    assert done.finished_at is not None
    assert event_types(jobs, job.id) == ["queued", "started", "log", "progress", "succeeded"]
    with pytest.raises(StaleAttemptError):
        jobs.finish(job.id, 1, "failed", error=LOST)


def test_events_are_numbered_without_gaps_and_read_from_anywhere(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    for number in range(5):
        jobs.append_event(job.id, 1, "log", {"number": number})
    assert [event.seq for event in jobs.events(job.id)] == [1, 2, 3, 4, 5, 6, 7]
    assert [event.seq for event in jobs.events(job.id, after_seq=3, limit=2)] == [4, 5]
    assert [event.data["number"] for event in jobs.events(job.id, types=("log",))] == [0, 1, 2, 3, 4]


def test_a_waiting_job_is_cancelled_at_once_and_cancelling_again_changes_nothing(
    jobs: JobStore, warmup: WarmupSpec
) -> None:
    job = jobs.submit(warmup)
    assert jobs.cancel(job.id).status == "cancelled"
    assert jobs.cancel(job.id).status == "cancelled"
    assert event_types(jobs, job.id) == ["queued", "cancelled"]
    assert jobs.claim(queue=QUEUE, worker="w1") is None


def test_a_running_job_is_asked_once_to_cancel(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    assert [jobs.cancel(job.id).status for _ in range(2)] == ["running", "running"]
    assert event_types(jobs, job.id).count("cancel_requested") == 1


def test_a_cancelled_job_whose_worker_is_lost_ends_instead_of_running_again(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    jobs.cancel(job.id)
    assert jobs.requeue(job.id, 1, "lease ran out").status == "cancelled"


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_a_job_that_has_ended_cannot_be_cancelled_paused_or_resumed(
    jobs: JobStore, warmup: WarmupSpec, status: JobStatus
) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    jobs.finish(job.id, 1, status)
    for call in (jobs.cancel, jobs.pause, jobs.resume):
        with pytest.raises(JobStateError) as caught:
            call(job.id)
        assert caught.value.extra == {"status": status}


def test_a_paused_job_waits_until_it_is_resumed(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    assert [jobs.pause(job.id).status for _ in range(2)] == ["paused", "paused"]
    assert jobs.claim(queue=QUEUE, worker="w1") is None
    assert [jobs.resume(job.id).status for _ in range(2)] == ["queued", "queued"]
    assert claim(jobs).job.id == job.id


def test_a_running_job_is_asked_once_to_pause_and_is_paused_when_its_worker_gives_it_back(
    jobs: JobStore, warmup: WarmupSpec
) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    assert [jobs.pause(job.id).status for _ in range(2)] == ["running", "running"]
    assert jobs.beat(job.id, 1).pause_requested
    paused = jobs.requeue(job.id, 1, "asked to pause", crash=False)
    assert (paused.status, paused.pause_requested) == ("paused", False)
    assert event_types(jobs, job.id) == ["queued", "started", "pause_requested", "paused"]
    assert jobs.claim(queue=QUEUE, worker="w1") is None
    jobs.resume(job.id)
    assert claim(jobs).attempt == 2


def test_a_pause_can_be_taken_back_while_the_job_still_runs(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    jobs.pause(job.id)
    assert not jobs.resume(job.id).pause_requested
    assert jobs.requeue(job.id, 1, "asked to pause", crash=False).status == "queued"


def test_a_cancellation_wins_over_a_pause_and_over_a_full_disk(jobs: JobStore, warmup: WarmupSpec) -> None:
    first, second = (jobs.submit(warmup).id for _ in range(2))
    for job_id in (first, second):
        claim(jobs)
        jobs.pause(job_id)
        jobs.cancel(job_id)
        with pytest.raises(JobStateError, match="being cancelled"):
            jobs.pause(job_id)
    assert jobs.requeue(first, 1, "asked to pause", crash=False).status == "cancelled"
    assert jobs.suspend(second, 1, LOST).status == "cancelled"


def test_a_watcher_that_judged_by_an_older_beat_takes_no_living_job(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    [seen] = jobs.running()
    jobs.beat(job.id, 1)
    with pytest.raises(StaleAttemptError, match="alive"):
        jobs.requeue(job.id, 1, "lease ran out", beat=seen.beat)
    assert jobs.requeue(job.id, 1, "lease ran out", beat=seen.beat + 1).status == "queued"


def test_runtime_adds_up_and_never_falls(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    for runtime_s in (3.0, 2.0):
        jobs.beat(job.id, 1, runtime_s=runtime_s)
    jobs.requeue(job.id, 1, "lease ran out")
    assert claim(jobs).job.runtime_s == 3.0


def change_row(database: Database, job_id: str, **values: object) -> None:
    with database.transaction() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(**values))


def test_a_spec_of_a_newer_version_or_kind_waits_for_a_newer_worker_and_holds_up_nobody(
    jobs: JobStore, database: Database, warmup: WarmupSpec
) -> None:
    newer, foreign, known = (jobs.submit(warmup).id for _ in range(3))
    change_row(database, newer, spec_version=SPEC_VERSION + 1)
    change_row(database, foreign, kind="pipeline", spec={"kind": "pipeline", "graph": []})
    assert claim(jobs).job.id == known
    assert jobs.claim(queue=QUEUE, worker="w1") is None
    assert [job.status for job in jobs.list().data] == ["running", "queued", "queued"]
    assert jobs.get(foreign).kind == "pipeline"


def test_a_stored_spec_that_a_rule_refuses_by_now_ends_as_invalid_and_holds_up_nobody(
    jobs: JobStore, database: Database, rl: RlSpec
) -> None:
    old, sound = (jobs.submit(rl).id for _ in range(2))
    change_row(database, old, spec=rl.model_dump(mode="json") | {"temperature": 0.005})
    assert claim(jobs).job.id == sound
    ended = jobs.get(old)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == ("failed", "invalid")
    assert "/rl/temperature" in ended.error.message
    assert len(jobs.list().data) == 2


def test_a_kind_waits_where_the_rules_say_and_no_more_of_it_run_than_they_allow(
    database: Database, warmup: WarmupSpec, rl: RlSpec
) -> None:
    jobs = JobStore(database, JobRules(queues={"rl": "gpu"}, max_running={"rl": 1}))
    first, second, other = jobs.submit(rl), jobs.submit(rl), jobs.submit(warmup)
    claimed = jobs.claim(queue="gpu", worker="w1")
    assert claimed is not None
    assert claimed.job.id == first.id
    assert jobs.claim(queue="gpu", worker="w2") is None
    assert (jobs.waits("gpu"), jobs.waits(QUEUE)) == (False, True)
    assert claim(jobs).job.id == other.id
    jobs.finish(first.id, 1, "succeeded")
    later = jobs.claim(queue="gpu", worker="w2")
    assert later is not None
    assert later.job.id == second.id


def test_three_crashes_in_a_row_without_progress_end_a_job(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    for attempt in (1, 2):
        claim(jobs)
        assert jobs.requeue(job.id, attempt, "crash", error=LOST).status == "queued"
    claim(jobs)
    ended = jobs.requeue(job.id, 3, "crash", error=LOST)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error.message == "gone (3 crashes in a row without progress)"


def test_a_crash_after_progress_does_not_count_but_the_same_step_again_is_no_progress(
    jobs: JobStore, warmup: WarmupSpec
) -> None:
    job = jobs.submit(warmup)
    statuses: list[str] = []
    for attempt, step in enumerate((1, 2, 2, 2, 2), start=1):
        claim(jobs)
        jobs.save_progress(job.id, attempt, Progress(step=step))
        statuses.append(jobs.requeue(job.id, attempt, "crash", error=LOST).status)
    assert statuses == ["queued", "queued", "queued", "queued", "failed"]


def test_a_drained_worker_gives_back_without_counting_a_crash(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    for attempt in range(1, 6):
        claim(jobs)
        assert jobs.requeue(job.id, attempt, "drain", crash=False).status == "queued"


def test_a_job_stopped_by_a_full_disk_is_paused_with_the_reason_and_can_be_resumed(
    jobs: JobStore, warmup: WarmupSpec
) -> None:
    job = jobs.submit(warmup)
    claim(jobs)
    full = JobError(code="disk_full", message="no space")
    assert jobs.suspend(job.id, 1, full).error == full
    assert jobs.resume(job.id).error is None
    assert claim(jobs).attempt == 2


def test_lists_are_newest_first_in_pages_and_by_status_and_kind(jobs: JobStore, warmup: WarmupSpec, rl: RlSpec) -> None:
    ids = [jobs.submit(spec).id for spec in (warmup, rl, warmup, rl, warmup)]
    page = jobs.list(limit=2)
    assert ([job.id for job in page.data], page.has_more, page.last_id) == ([ids[4], ids[3]], True, ids[3])
    rest = jobs.list(limit=3, after=page.last_id)
    assert ([job.id for job in rest.data], rest.has_more) == ([ids[2], ids[1], ids[0]], False)
    assert [job.id for job in jobs.list(kind="rl").data] == [ids[3], ids[1]]
    jobs.cancel(ids[0])
    assert [job.id for job in jobs.list(status="cancelled").data] == [ids[0]]
    assert jobs.counts() == {"queued": 4, "cancelled": 1}


def test_unknown_ids_are_named_in_the_error(jobs: JobStore) -> None:
    for call in (jobs.get, jobs.cancel, jobs.pause, jobs.resume, jobs.events):
        with pytest.raises(NotFoundError, match="job_nothing"):
            call("job_nothing")
    with pytest.raises(InvalidRequestError, match="after"):
        jobs.list(after="job_nothing")
