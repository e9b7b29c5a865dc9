"""What judges a training beside a harmed engine sees one that was lost, taken up anew, or went on without waiting."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.reliability.trainings import Training, has_gone_on
from rlt_core.schemas.jobs import QUEUE, JobEvent, Progress, WarmupSpec
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore
from tests.support.schema import lay_schema

AT = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = WarmupSpec(kind="warmup", role="teacher", dataset="ds_none", target_name="algebra")
STEP = ""
AWAY = "explaining failed (starting); trying again in 10.0 s (failure 1)"
BACK = "explaining works again after 10 s"


def events(said: Sequence[str]) -> list[JobEvent]:
    """Make what a trainer told: messages, and steps for what is empty."""
    return [
        JobEvent(
            seq=seq,
            job_id="job_1",
            attempt=1,
            created_at=AT,
            type="log" if message else "progress",
            data={"message": message} if message else {"step": seq},
        )
        for seq, message in enumerate(said, start=1)
    ]


@pytest.mark.parametrize(
    ("said", "alone", "waited"),
    [
        ([STEP], True, False),
        ([AWAY, BACK, STEP], True, True),
        ([STEP, AWAY, AWAY, BACK, STEP], True, True),
        ([STEP, AWAY, BACK], True, False),
        ([AWAY, STEP], True, False),
        ([BACK, STEP], True, False),
        (["it is well", "it is well"], False, False),
    ],
)
def test_a_trainer_that_calls_the_engine_goes_on_only_after_it_waited(
    said: list[str], alone: bool, waited: bool
) -> None:
    assert has_gone_on(events(said), waited=False) == alone
    assert has_gone_on(events(said), waited=True) == waited


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobStore]:
    database = Database(lay_schema(tmp_path))
    database.start()
    yield JobStore(database)
    database.close()


def test_a_training_that_was_taken_up_anew_or_stands_still_is_a_failure(jobs: JobStore) -> None:
    job = jobs.submit(SPEC).id
    jobs.claim(queue=QUEUE, worker="w1")
    training = Training(name="it", jobs=jobs, job_id=job, calls_engine=False)
    jobs.save_progress(job, 1, Progress(step=1))
    assert training.faults() == []
    training.look()
    assert training.faults(most_s=0.05) == ["it did not go on within 0 s"]
    jobs.save_progress(job, 1, Progress(step=2))
    assert training.faults() == []
    jobs.requeue(job, 1, "the trainer crashed")
    assert training.faults() == ["it is queued, attempt 1"]
    jobs.claim(queue=QUEUE, worker="w1")
    assert training.faults() == ["it is running, attempt 2"]
