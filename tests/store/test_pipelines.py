"""Pipelines in the store: nothing is lost and nothing handed in twice, whatever is killed when, and by how many."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import pytest
from sqlalchemy import event, func, select

from rlt_core import trace_context
from rlt_core.errors import ConflictError, InvalidRequestError, JobStateError, NotFoundError, StorageUnavailableError
from rlt_core.schemas.base import now_utc
from rlt_core.schemas.jobs import QUEUE, TERMINAL, AnySpec, Job, JobError, JobResult
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_service.control.step_checks import StepChecks
from rlt_service.jobs.conductor import Conductor
from rlt_service.store.database import Database
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.jobs import JobStore
from rlt_service.store.keys import KeyStore
from rlt_service.store.outbox import Outbox
from rlt_service.store.ownership import VIEWER, Viewer
from rlt_service.store.pipelines import PipelineStore
from rlt_service.store.tables import DatasetTable, JobRow, OutboxRow, PipelineStepRow
from tests.core.pipeline_specs import COLLECT, DISTILL, TAUGHT_BY_ITSELF, WARMUP, WHOLE, pipeline, step

SMALL = [step("collect", COLLECT), step("distil", DISTILL, dataset="$collect.dataset"), step("other", WARMUP)]


@pytest.fixture
def pipelines(database: Database) -> PipelineStore:
    return PipelineStore(database)


def accepted(spec: AnySpec, pipeline_id: str) -> None:
    del spec, pipeline_id


def conductor(pipelines: PipelineStore, check: Callable[[AnySpec, str], None] = accepted) -> Conductor:
    return Conductor(pipelines, check=check, on_begun=lambda: None, period_s=1.0)


def start(pipelines: PipelineStore, steps: list[Any] = SMALL, **fields: Any) -> Job:
    return pipelines.submit(pipeline(steps, **fields), taken_over={})


def claimed_all(jobs: JobStore) -> list[Job]:
    return [found.job for found in iter(lambda: jobs.claim(queue=QUEUE, worker="w"), None)]


def finish(jobs: JobStore, job: Job, status: Any = "succeeded", error: JobError | None = None) -> None:
    """End a claimed job as its trainer's supervisor would."""
    made: dict[str, Any] = {"collect": {"dataset": f"ds_{job.id[4:]}"}, "evaluate": {"evaluation": "eval_1"}}.get(
        job.kind, {"student" if job.kind == "distill" else "teacher": f"made@{job.id[-4:]}"}
    )
    result = JobResult(**made, cost={"total_s": 2.0, "generated_tokens": 10.0})
    jobs.finish(job.id, job.attempt, status, result=result if status == "succeeded" else None, error=error)


def play(jobs: JobStore, conductor: Conductor, pipeline_id: str, *, rounds: int = 40) -> Job:
    """Conduct and work until the pipeline has ended."""
    for _ in range(rounds):
        conductor.round()
        if jobs.get(pipeline_id).status in TERMINAL:
            return jobs.get(pipeline_id)
        for job in claimed_all(jobs):
            finish(jobs, job)
    raise AssertionError(f"{pipeline_id} is {jobs.get(pipeline_id)}")


def steps_of(jobs: JobStore, pipeline_id: str) -> list[tuple[int, str]]:
    found = [job.pipeline for job in jobs.list(limit=100, pipeline=pipeline_id).data]
    return [(place.round, place.step) for place in found[::-1] if place is not None]


def types(jobs: JobStore, job_id: str) -> list[str]:
    return [event.type for event in jobs.events(job_id)]


def test_a_pipeline_runs_to_its_end_and_adds_up_what_it_has_cost(jobs: JobStore, pipelines: PipelineStore) -> None:
    job = start(pipelines, WHOLE)
    assert (job.status, job.progress.total) == ("queued", 6)
    ended = play(jobs, conductor(pipelines), job.id)
    assert ended.status == "succeeded"
    assert ended.result is not None
    assert [found.step for found in ended.result.steps] == ["warmup", "rl", "collect", "judge", "distil", "measure"]
    assert ended.result.cost == {"total_s": 12.0, "generated_tokens": 60.0}
    assert ended.result.student == ended.result.steps[4].student
    assert (ended.progress.step, ended.progress.total, ended.progress.metrics) == (6, 6, {"round": 1.0})
    assert types(jobs, job.id) == [
        "queued",
        "started",
        *["step_begun", "step_ended", "progress"] * 2,
        *["step_begun"] * 2,
        *["step_ended", "progress"] * 2,
        *["step_begun", "step_ended", "progress"] * 2,
        "succeeded",
    ]
    measured = jobs.get(ended.result.steps[5].job)
    assert measured.spec.model_dump()["models"] == ["default", ended.result.student]


def test_the_distilled_student_teaches_the_next_round(jobs: JobStore, pipelines: PipelineStore) -> None:
    job = start(pipelines, **TAUGHT_BY_ITSELF)
    ended = play(jobs, conductor(pipelines), job.id)
    assert ended.result is not None
    assert ended.progress.metrics == {"round": 3.0}
    students = [found.student for found in ended.result.steps if found.student]
    collects = [jobs.get(found.job).spec.model_dump() for found in ended.result.steps if found.kind == "collect"]
    assert [spec["teacher"] for spec in collects] == ["default", *students[:2]]
    assert [spec["student"] for spec in collects] == ["default", *students[:2]]


class Killed(BaseException):
    """Stands for the end of the process."""


@contextmanager
def killed_at(database: Database, number: int) -> Iterator[list[int]]:
    """Break off at the Nth statement that is sent, within a transaction or between two."""
    count = [0]

    def before(*_: Any) -> None:
        count[0] += 1
        if count[0] == number:
            raise Killed

    engine = database._started()
    event.listen(engine, "before_cursor_execute", before)
    try:
        yield count
    finally:
        event.remove(engine, "before_cursor_execute", before)


def test_a_conductor_that_is_killed_anywhere_loses_nothing_and_hands_in_nothing_twice(
    database: Database, jobs: JobStore, pipelines: PipelineStore
) -> None:
    number = 0
    while True:
        number += 1
        job = start(pipelines, SMALL)
        conductor(pipelines).round()
        (first, other) = claimed_all(jobs)
        finish(jobs, first)
        finish(jobs, other)
        was_killed = False
        with killed_at(database, number):
            try:
                conductor(pipelines).round()
            except Killed:
                was_killed = True
        ended = play(jobs, conductor(pipelines), job.id)
        assert ended.status == "succeeded"
        assert sorted(steps_of(jobs, job.id)) == [(1, "collect"), (1, "distil"), (1, "other")]
        kinds = types(jobs, job.id)
        assert [kinds.count(type_) for type_ in ("step_begun", "step_ended", "started", "succeeded")] == [3, 3, 1, 1]
        if not was_killed:
            break
    assert number > 10


def test_a_step_its_bell_and_the_event_are_stored_together_or_not_at_all(
    database: Database, jobs: JobStore, pipelines: PipelineStore
) -> None:
    number = 0
    while True:
        number += 1
        job = start(pipelines, [step("one", WARMUP)])
        underway = pipelines.settle(job.id)
        assert underway is not None
        with killed_at(database, number):
            try:
                begun = pipelines.begin(job.id, (1, "one"), underway.spec.steps[0].spec)
            except Killed:
                begun = None
        with database.reading() as session:
            counts = [
                session.scalar(select(func.count()).select_from(table).where(condition))
                for table, condition in (
                    (JobRow, JobRow.pipeline_id == job.id),
                    (PipelineStepRow, PipelineStepRow.pipeline_id == job.id),
                    (OutboxRow, OutboxRow.job_id.in_(select(JobRow.id).where(JobRow.pipeline_id == job.id))),
                )
            ]
        assert counts == ([0, 0, 0] if begun is None else [1, 1, 1])
        if begun is not None:
            break
    assert number > 4


def test_many_conductors_at_once_hand_each_step_in_once(jobs: JobStore, pipelines: PipelineStore) -> None:
    ids = [start(pipelines, SMALL).id for _ in range(3)]
    barrier = threading.Barrier(4)

    def slow(spec: AnySpec, pipeline_id: str) -> None:
        barrier.wait(timeout=10.0)  # all have read that the step is due before any hands it in

    with ThreadPoolExecutor(max_workers=4) as pool:
        for found in [pool.submit(conductor(pipelines, slow).round) for _ in range(4)]:
            found.result(timeout=60.0)
    for id_ in ids:
        assert sorted(steps_of(jobs, id_)) == [(1, "collect"), (1, "other")]
        assert types(jobs, id_).count("step_begun") == 2


def test_no_worker_no_bell_and_no_lease_is_for_a_pipeline(
    database: Database, jobs: JobStore, pipelines: PipelineStore
) -> None:
    job = start(pipelines, [step("one", WARMUP)])
    outbox = Outbox(database)
    assert jobs.claim(queue=QUEUE, worker="w") is None
    assert jobs.claim(queue="pipeline", worker="w") is None
    assert (outbox.owed(), outbox.waiting()) == ([], [])
    pipelines.settle(job.id)
    assert jobs.get(job.id).status == "running"
    assert jobs.running() == []


def test_a_step_that_fails_fails_the_pipeline_once_what_runs_has_ended(
    jobs: JobStore, pipelines: PipelineStore
) -> None:
    job = start(pipelines, [*SMALL, step("third", WARMUP), step("last", WARMUP, "other")])
    conducting = conductor(pipelines)
    conducting.round()
    first, other = claimed_all(jobs)[:2]
    third = jobs.get(jobs.list(pipeline=job.id).data[0].id)
    jobs.requeue(third.id, third.attempt, "drained", crash=False)  # it waits
    finish(jobs, first, "failed", JobError(code="diverged", message="beyond all bounds", log_tail="nan"))
    conducting.round()
    still = jobs.get(job.id)
    assert (still.status, jobs.get(third.id).status, jobs.get(other.id).status) == ("running", "cancelled", "running")
    finish(jobs, other)
    conducting.round()
    ended = jobs.get(job.id)
    assert ended.error is not None
    assert ended.result is not None
    assert (ended.status, ended.error.code, ended.error.log_tail) == ("failed", "step_failed", "nan")
    assert f"collect of round 1, {first.id}, failed with diverged: beyond all bounds" in ended.error.message
    assert ended.error.remedy
    assert sorted(steps_of(jobs, job.id)) == [(1, "collect"), (1, "other"), (1, "third")]
    assert [found.status for found in ended.result.steps] == ["failed", "succeeded", "cancelled"]
    assert ended.result.cost == {"total_s": 2.0, "generated_tokens": 10.0}


def test_a_step_that_somebody_cancels_ends_the_pipeline_and_says_so(jobs: JobStore, pipelines: PipelineStore) -> None:
    job = start(pipelines, SMALL[:2])
    conductor(pipelines).round()
    jobs.cancel(jobs.list(pipeline=job.id).data[0].id)
    conductor(pipelines).round()
    ended = jobs.get(job.id)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == ("failed", "step_cancelled")


def test_a_step_that_is_refused_when_its_time_comes_fails_the_pipeline_with_the_reason(
    jobs: JobStore, pipelines: PipelineStore
) -> None:
    def check(spec: AnySpec, pipeline_id: str) -> None:
        if spec.kind == "distill":
            raise InvalidRequestError("no row is left", param="/dataset")

    job = start(pipelines, SMALL[:2])
    ended = play(jobs, conductor(pipelines, check), job.id)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == ("failed", "step_refused")
    assert "distil of round 1 was refused as invalid_request (/dataset): no row is left" in ended.error.message


def test_a_step_waits_while_what_its_checks_read_is_away(jobs: JobStore, pipelines: PipelineStore) -> None:
    faults = [StorageUnavailableError("the disk is away")]

    def check(spec: AnySpec, owner: str | None) -> None:
        if faults:
            raise faults.pop()

    job = start(pipelines, [step("one", WARMUP)])
    conducting = conductor(pipelines, check)
    conducting.round()
    waiting = jobs.get(job.id)
    assert (waiting.status, waiting.error, steps_of(jobs, job.id)) == ("running", None, [])
    assert play(jobs, conducting, job.id).status == "succeeded"


def test_a_cancellation_reaches_every_step(jobs: JobStore, pipelines: PipelineStore) -> None:
    job = start(pipelines, SMALL)
    conductor(pipelines).round()
    claimed = jobs.claim(queue=QUEUE, worker="w")
    assert claimed is not None
    for _ in range(2):
        assert jobs.cancel(job.id).cancel_requested
    waiting, running = jobs.list(pipeline=job.id).data
    assert (running.status, running.cancel_requested, waiting.status) == ("running", True, "cancelled")
    conductor(pipelines).round()
    assert jobs.get(job.id).status == "running"
    finish(jobs, claimed.job, "cancelled")
    conductor(pipelines).round()
    ended = jobs.get(job.id)
    assert (ended.status, ended.error) == ("cancelled", None)
    assert steps_of(jobs, job.id) == [(1, "collect"), (1, "other")]
    with pytest.raises(JobStateError):
        jobs.resume(job.id)


def test_a_pause_holds_every_step_back_and_a_resume_lets_all_go_on(jobs: JobStore, pipelines: PipelineStore) -> None:
    job = start(pipelines, SMALL)
    conducting = conductor(pipelines)
    conducting.round()
    claimed = jobs.claim(queue=QUEUE, worker="w")
    assert claimed is not None
    for _ in range(2):
        jobs.pause(job.id)
    conducting.round()
    assert (jobs.get(job.id).status, jobs.get(claimed.job.id).pause_requested) == ("running", True)
    jobs.requeue(claimed.job.id, claimed.attempt, "it was asked to pause", crash=False)
    conducting.round()
    assert jobs.get(job.id).status == "paused"
    assert {found.status for found in jobs.list(pipeline=job.id).data} == {"paused"}
    conducting.round()
    assert jobs.claim(queue=QUEUE, worker="w") is None
    jobs.resume(job.id)
    assert {found.status for found in jobs.list(pipeline=job.id).data} == {"queued"}
    assert play(jobs, conducting, job.id).status == "succeeded"


def test_a_pause_is_taken_back_before_a_step_has_saved(jobs: JobStore, pipelines: PipelineStore) -> None:
    job = start(pipelines, SMALL)
    conductor(pipelines).round()
    claimed = jobs.claim(queue=QUEUE, worker="w")
    assert claimed is not None
    jobs.pause(job.id)
    jobs.resume(job.id)
    found = jobs.get(claimed.job.id)
    assert (found.status, found.pause_requested, jobs.get(job.id).pause_requested) == ("running", False, False)


def test_a_paused_pipeline_is_cancelled_with_its_steps_at_once(jobs: JobStore, pipelines: PipelineStore) -> None:
    job = start(pipelines, SMALL)
    conductor(pipelines).round()
    jobs.pause(job.id)
    conductor(pipelines).round()
    assert jobs.get(job.id).status == "paused"
    assert jobs.cancel(job.id).status == "cancelled"
    assert {found.status for found in jobs.list(pipeline=job.id).data} == {"cancelled"}


def test_a_step_is_not_begun_after_its_pipeline_was_asked_to_stop(jobs: JobStore, pipelines: PipelineStore) -> None:
    for ask in (jobs.cancel, jobs.pause):
        job = start(pipelines, [step("one", WARMUP)])
        underway = pipelines.settle(job.id)
        assert underway is not None
        ask(job.id)
        assert pipelines.begin(job.id, (1, "one"), underway.spec.steps[0].spec) is None
        assert steps_of(jobs, job.id) == []


def test_the_time_of_all_steps_is_bounded(database: Database, jobs: JobStore, pipelines: PipelineStore) -> None:
    job = start(pipelines, SMALL, max_runtime_s=10.0)
    conductor(pipelines).round()
    claimed = claimed_all(jobs)
    for each in claimed:
        jobs.beat(each.id, each.attempt, runtime_s=6.0)
    conductor(pipelines).round()
    assert all(jobs.get(each.id).cancel_requested for each in claimed)
    for each in claimed:
        finish(jobs, each, "cancelled")
    conductor(pipelines).round()
    ended = jobs.get(job.id)
    assert ended.error is not None
    assert (ended.status, ended.error.code, ended.runtime_s) == ("failed", "max_runtime", 12.0)


def test_a_restart_does_only_what_is_left_and_counts_only_its_own_cost(
    jobs: JobStore, pipelines: PipelineStore
) -> None:
    first = start(pipelines, SMALL)
    conductor(pipelines).round()
    for each in claimed_all(jobs):
        finish(jobs, each)
    conductor(pipelines).round()
    (distil,) = claimed_all(jobs)
    finish(jobs, distil, "failed", JobError(code="diverged", message="no"))
    conductor(pipelines).round()
    _, states = pipelines.earlier(first.id)
    kept = {place: state for place, state in states.items() if place[1] != "distil"}
    again = pipelines.submit(pipeline(SMALL), taken_over=kept)
    assert again.progress.step == 2
    ended = play(jobs, conductor(pipelines), again.id)
    assert ended.result is not None
    assert (ended.status, ended.result.cost["total_s"]) == ("succeeded", 2.0)
    assert steps_of(jobs, again.id) == [(1, "distil")]
    assert {(found.step, found.taken_over) for found in ended.result.steps} == {
        ("collect", True),
        ("other", True),
        ("distil", False),
    }
    distilled = jobs.get(ended.result.steps[-1].job)
    assert distilled.spec.model_dump()["dataset"] == states[(1, "collect")].made["dataset"]
    assert distilled.pipeline is not None
    assert distilled.pipeline.job == again.id


def test_what_a_pipeline_may_still_use_cannot_be_deleted(
    jobs: JobStore, pipelines: PipelineStore, datasets: DatasetStore, tmp_path: Any
) -> None:
    def stored() -> str:
        path = tmp_path / "rows.jsonl"
        path.write_text("{}\n")
        fields: dict[str, Any] = {"name": None, "rows": 1, "sha256": "0" * 64, "columns": [], "size_bytes": 1}
        return datasets.create(path=path, **fields).id

    named, begun = stored(), stored()
    steps = [step("a", COLLECT, dataset=named), step("b", COLLECT, dataset="$round.rows")]
    job = start(pipelines, steps, start={"rows": begun})
    for dataset in (named, begun):
        with pytest.raises(ConflictError, match=job.id):
            datasets.delete(dataset)
    jobs.cancel(job.id)
    for dataset in (named, begun):
        datasets.delete(dataset)


def test_a_dataset_that_a_step_collected_stays_until_the_pipeline_has_ended(
    database: Database, jobs: JobStore, pipelines: PipelineStore, datasets: DatasetStore
) -> None:
    job = start(pipelines, [step("collect", COLLECT), step("last", WARMUP, "collect")])
    conducting = conductor(pipelines)
    conducting.round()
    (collect,) = claimed_all(jobs)
    finish(jobs, collect)
    made = f"ds_{collect.id[4:]}"
    with database.transaction() as session:
        fields: dict[str, Any] = {"rows": 1, "size_bytes": 1, "sha256": "0" * 64, "columns": []}
        session.add(DatasetTable(id=made, created_at=now_utc(), **fields))
    conducting.round()
    with pytest.raises(ConflictError, match=job.id):
        datasets.delete(made)
    play(jobs, conducting, job.id)
    datasets.delete(made)


def test_a_pipeline_that_cannot_be_moved_holds_up_no_other(jobs: JobStore, pipelines: PipelineStore) -> None:
    broken, sound = start(pipelines, [step("one", COLLECT)]), start(pipelines, [step("one", WARMUP)])

    def check(spec: AnySpec, pipeline_id: str) -> None:
        if spec.kind == "collect":
            raise RuntimeError("a fault of ours")

    assert play(jobs, conductor(pipelines, check), sound.id).status == "succeeded"
    assert jobs.get(broken.id).status == "running"
    assert play(jobs, conductor(pipelines), broken.id).status == "succeeded"


def test_steps_belong_to_whom_their_pipeline_belongs(jobs: JobStore, pipelines: PipelineStore) -> None:
    asked: list[str] = []

    def check(spec: AnySpec, pipeline_id: str) -> None:
        asked.append(pipeline_id)

    with seen_by("a" * 12):
        job = start(pipelines, [step("one", WARMUP)])
    conductor(pipelines, check).round()
    assert asked == [job.id]
    for key, seen in (("a" * 12, 1), ("b" * 12, 0)):
        with seen_by(key):
            assert len(jobs.list(pipeline=job.id).data) == seen
    with seen_by("b" * 12), pytest.raises(NotFoundError):
        pipelines.earlier(job.id)


@contextmanager
def seen_by(key: str) -> Iterator[None]:
    token = VIEWER.set(Viewer(key=key, sees_all=False))
    yield
    VIEWER.reset(token)


def test_a_pipeline_that_todays_rules_refuse_ends_with_its_steps(
    database: Database, jobs: JobStore, pipelines: PipelineStore
) -> None:
    job = start(pipelines, SMALL)
    conductor(pipelines).round()
    with database.transaction() as session:
        row = session.scalar(select(JobRow).where(JobRow.id == job.id))
        assert row is not None
        row.spec = row.spec | {"rounds": 0}
    conductor(pipelines).round()
    ended = jobs.get(job.id)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == ("failed", "invalid")
    assert {found.status for found in jobs.list(pipeline=job.id).data} == {"cancelled"}


def test_work_that_is_done_counts_though_its_time_is_over(jobs: JobStore, pipelines: PipelineStore) -> None:
    job = start(pipelines, [step("one", WARMUP)], max_runtime_s=5.0)
    conductor(pipelines).round()
    (one,) = claimed_all(jobs)
    jobs.beat(one.id, one.attempt, runtime_s=6.0)
    finish(jobs, one)
    conductor(pipelines).round()
    assert jobs.get(job.id).status == "succeeded"


def test_a_spec_keeps_what_a_step_left_out(pipelines: PipelineStore, database: Database) -> None:
    job = start(pipelines, SMALL)
    underway = pipelines.settle(job.id)
    assert underway is not None
    assert isinstance(underway.spec, PipelineSpec)
    assert "teacher" not in underway.spec.steps[0].spec.model_fields_set


def test_a_step_is_checked_with_its_submitters_eyes(database: Database, pipelines: PipelineStore) -> None:
    seen: list[Viewer | None] = []

    class Looking:
        def examine(self, spec: Any) -> None:
            seen.append(VIEWER.get())

    keys = KeyStore(database)
    keys.create("a" * 12, name="ann", sha256="1" * 64, scopes=["train"])
    keys.create("b" * 12, name="root", sha256="2" * 64, scopes=["admin"])
    checks = StepChecks(submission=lambda: cast("Any", Looking()), keys=keys)
    checks.check(cast("Any", None), start(pipelines, SMALL).id)
    for key in ("a" * 12, "b" * 12):
        with seen_by(key):
            job = start(pipelines, SMALL)
        checks.check(cast("Any", None), job.id)
    assert seen == [None, Viewer(key="a" * 12, sees_all=False), Viewer(key="b" * 12, sees_all=True)]
    assert VIEWER.get() is None


def test_steps_are_of_the_trace_in_which_the_pipeline_was_submitted(jobs: JobStore, pipelines: PipelineStore) -> None:
    given = trace_context.begun()
    with trace_context.within(given):
        start(pipelines)
    conductor(pipelines).round()
    claimed = list(iter(lambda: jobs.claim(queue=QUEUE, worker="w"), None))
    assert [found.traceparent for found in claimed] == [given.traceparent] * len(claimed) != []
