"""A collect's dataset: read while it grows, made once, in its job's name, by the attempt that owns the job."""

from pathlib import Path

import pytest

from rlt_core.collected import FOLDER, dataset_of
from rlt_core.errors import InconsistentStateError, NotFoundError, StaleAttemptError
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import QUEUE, Job
from rlt_core.schemas.trainer import CollectedEvent
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.jobs import JobStore
from rlt_service.store.ownership import VIEWER, Viewer
from rlt_train.collecting.shards import ShardBody, ShardLog

TEACHER, STUDENT = "algebra@3", "tiny@0"


def running(jobs: JobStore) -> Job:
    jobs.submit(CollectSpec(kind="collect", dataset="ds_none", name="traces"))
    claimed = jobs.claim(queue=QUEUE, worker="w1")
    assert claimed is not None
    return claimed.job


def log(artifacts: ArtifactStore, job: Job) -> ShardLog:
    """Begin as a trainer does."""
    folder = artifacts.attempt_dir(job.id, job.attempt) / FOLDER
    made = ShardLog(folder, job_id=job.id, teacher=TEACHER, student=STUDENT)
    list(made.take_up([artifacts.attempt_dir(job.id, each) / FOLDER for each in range(1, job.attempt)], report=print))
    return made


def shard(*numbers: int) -> ShardBody:
    rows = [DatasetRow(id=f"r{number}#0", question=f"{number}?", solution=str(number)) for number in numbers]
    return ShardBody(rows=rows, counts={}, sums={}, cost={}, answered=[])


def told(artifacts: ArtifactStore, job: Job, *, rows: int) -> CollectedEvent:
    path = str(artifacts.attempt_dir(job.id, job.attempt) / FOLDER)
    return CollectedEvent(path=path, rows=rows, columns=["id", "question", "solution"], counts={}, skipped=[], cost={})


def ids(datasets: DatasetStore, dataset_id: str, *, offset: int = 0, limit: int = 10) -> list[str | None]:
    return [row.id for row in datasets.rows(dataset_id, offset=offset, limit=limit).data]


def test_rows_are_read_while_they_grow_and_a_new_attempt_takes_none_away(
    jobs: JobStore, datasets: DatasetStore, artifacts: ArtifactStore
) -> None:
    job = running(jobs)
    output = dataset_of(job.id)
    first = log(artifacts, job)
    first.finish(0, shard(0, 1))
    assert ids(datasets, output) == ["r0#0", "r1#0"]
    first.finish(1, shard(2))
    window = datasets.rows(output, offset=1, limit=1)
    assert ([row.id for row in window.data], window.total, window.has_more) == (["r1#0"], 3, True)
    found = datasets.get(output)
    assert (found.rows, found.complete, found.job, found.name, found.sha256) == (3, False, job.id, "traces", "")
    jobs.requeue(job.id, job.attempt, "killed")
    claimed = jobs.claim(queue=QUEUE, worker="w2")
    assert claimed is not None
    artifacts.make_dir(artifacts.attempt_dir(job.id, 2))
    assert datasets.get(output).rows == 3  # the new attempt has not taken them up yet
    log(artifacts, claimed.job).finish(2, shard(3))
    assert ids(datasets, output) == ["r0#0", "r1#0", "r2#0", "r3#0"]
    assert len(list(datasets.lines(output))) == 4


def test_what_is_whole_becomes_a_dataset_once(jobs: JobStore, datasets: DatasetStore, artifacts: ArtifactStore) -> None:
    job = running(jobs)
    made = log(artifacts, job)
    made.finish(0, shard(0, 1))
    made.finish(1, shard(2))
    stored = datasets.keep_collected(job, told(artifacts, job, rows=3))
    assert (stored.id, stored.rows, stored.complete, stored.job) == (dataset_of(job.id), 3, True, job.id)
    assert datasets.keep_collected(job, told(artifacts, job, rows=3)) == stored
    assert datasets.collected_by(job.id) == stored
    jobs.finish(job.id, job.attempt, "succeeded")
    datasets.discard_shards(job.id)
    assert ids(datasets, stored.id) == ["r0#0", "r1#0", "r2#0"]
    assert datasets.get(stored.id) == stored
    assert datasets.list().data == [stored]
    datasets.delete(stored.id)
    with pytest.raises(NotFoundError):
        datasets.get(stored.id)


def test_an_attempt_that_lost_the_job_makes_no_dataset_and_harms_none(
    jobs: JobStore, datasets: DatasetStore, artifacts: ArtifactStore
) -> None:
    job = running(jobs)
    log(artifacts, job).finish(0, shard(0))
    jobs.requeue(job.id, job.attempt, "its lease ran out")
    claimed = jobs.claim(queue=QUEUE, worker="w2")
    assert claimed is not None
    log(artifacts, claimed.job)
    stored = datasets.keep_collected(claimed.job, told(artifacts, claimed.job, rows=1))
    with pytest.raises(StaleAttemptError):
        datasets.keep_collected(job, told(artifacts, job, rows=1))
    assert ids(datasets, stored.id) == ["r0#0"]


def test_shards_that_are_not_as_they_were_written_are_no_dataset(
    jobs: JobStore, datasets: DatasetStore, artifacts: ArtifactStore
) -> None:
    job = running(jobs)
    log(artifacts, job).finish(0, shard(0, 1))
    path = artifacts.attempt_dir(job.id, 1) / FOLDER / "shard-00000000.jsonl"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InconsistentStateError, match="not as they were written"):
        datasets.keep_collected(job, told(artifacts, job, rows=2))
    assert datasets.collected_by(job.id) is None
    assert not Path(artifacts.dataset_path(dataset_of(job.id))).exists()


def test_what_a_cancelled_collect_left_can_be_read_until_it_is_deleted(
    jobs: JobStore, datasets: DatasetStore, artifacts: ArtifactStore
) -> None:
    job = running(jobs)
    log(artifacts, job).finish(0, shard(0, 1))
    jobs.finish(job.id, job.attempt, "cancelled")
    output = dataset_of(job.id)
    assert ids(datasets, output) == ["r0#0", "r1#0"]
    with pytest.raises(NotFoundError, match="is cancelled"):
        datasets.path(output)
    datasets.delete(output)
    with pytest.raises(NotFoundError, match="no dataset"):
        datasets.get(output)


def test_what_grows_for_one_key_is_not_there_for_another(
    jobs: JobStore, datasets: DatasetStore, artifacts: ArtifactStore
) -> None:
    token = VIEWER.set(Viewer(key="one", sees_all=False))
    try:
        jobs.submit(CollectSpec(kind="collect", dataset="ds_none"))
    finally:
        VIEWER.reset(token)
    claimed = jobs.claim(queue=QUEUE, worker="w1")
    assert claimed is not None
    job = claimed.job
    log(artifacts, job).finish(0, shard(0))
    stored = None
    for _ in ("while it grows", "once it is whole"):
        for key, sees in (("one", True), ("two", False)):
            token = VIEWER.set(Viewer(key=key, sees_all=False))
            try:
                assert (ids(datasets, dataset_of(job.id)) == ["r0#0"]) is sees
            except NotFoundError:
                assert not sees
            finally:
                VIEWER.reset(token)
        stored = stored or datasets.keep_collected(job, told(artifacts, job, rows=1))
    jobs.finish(job.id, job.attempt, "succeeded")
