"""Rows of the next release, which runs beside this one while an installation is upgraded (docs/upgrading.md)."""

import pytest
from sqlalchemy import select, text, update

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.jobs import QUEUE, SPEC_VERSION, JobError, JobResult, Progress, WarmupSpec
from rlt_service.store.database import Database
from rlt_service.store.documents import read_document
from rlt_service.store.jobs import JobStore
from rlt_service.store.migration import newest_schema, schemas_of
from rlt_service.store.readers import OLDEST_READER, note_readers, oldest_reader
from rlt_service.store.tables import JobRow


def change_row(database: Database, job_id: str, **values: object) -> None:
    with database.transaction() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(**values))


def test_what_a_newer_release_has_stored_of_a_job_is_read_without_what_is_not_known_here(
    jobs: JobStore, database: Database, warmup: WarmupSpec
) -> None:
    job = jobs.submit(warmup)
    claimed = jobs.claim(queue=QUEUE, worker="w")
    assert claimed is not None
    jobs.save_progress(job.id, claimed.attempt, Progress(step=1, total=2))
    error = JobError(code="trainer_failed", message="it broke")
    ended = jobs.finish(job.id, claimed.attempt, "failed", result=JobResult(teacher="algebra@1"), error=error)
    with database.reading() as session:
        row = session.scalars(select(JobRow)).one()
        stored = {name: getattr(row, name) | {"since_the_next": [1]} for name in ("progress", "result", "error")}
    change_row(database, job.id, **stored)
    assert jobs.get(job.id) == ended
    assert [found.id for found in jobs.list().data] == [job.id]


def test_what_else_does_not_fit_is_still_refused() -> None:
    with pytest.raises(ValueError, match="step"):
        read_document(Progress, {"step": "two"})


def test_the_lease_of_a_job_with_a_newer_spec_is_a_newer_watchers(
    jobs: JobStore, database: Database, warmup: WarmupSpec
) -> None:
    """A kind to come may show in another way that it lives, as a pipeline does, which no worker beats for."""
    newer, known = (jobs.submit(warmup).id for _ in range(2))
    for _ in range(2):
        jobs.claim(queue=QUEUE, worker="w")
    assert {job.id for job in jobs.running()} == {newer, known}
    change_row(database, newer, spec_version=SPEC_VERSION + 1)
    assert {job.id for job in jobs.running()} == {known}


def migrate_to_the_next(database: Database, *, oldest: str, marked: str = "9998", schema: str = "9998") -> None:
    """Do to the database what a newer release's migration would."""
    with database.transaction() as session:
        session.execute(text("ALTER TABLE jobs ADD COLUMN since_the_next VARCHAR(9)"))
        session.execute(text("UPDATE alembic_version SET version_num = :schema"), {"schema": schema})
        note_readers(session.connection(), schema=marked, oldest=oldest)


def test_every_migration_says_whose_code_may_use_the_database(database: Database) -> None:
    assert newest_schema() >= OLDEST_READER
    with database.reading() as session:
        assert oldest_reader(session.connection(), schema=newest_schema()) == OLDEST_READER
        assert oldest_reader(session.connection(), schema="0001") is None


def test_this_release_starts_on_the_next_ones_database_where_that_says_so_and_changes_nothing(
    database: Database, warmup: WarmupSpec
) -> None:
    migrate_to_the_next(database, oldest=newest_schema())
    again = Database(database.url)
    again.start()
    jobs = JobStore(again)
    job = jobs.submit(warmup)
    claimed = jobs.claim(queue=QUEUE, worker="w")
    assert claimed is not None
    assert jobs.finish(job.id, claimed.attempt, "succeeded").status == "succeeded"
    with again.reading() as session:
        assert schemas_of(session.connection()) == {"9998"}
    again.close()


@pytest.mark.parametrize(("oldest", "marked"), [("9998", "9998"), ("0001", "9997")])
def test_it_does_not_where_that_needs_newer_code_or_the_mark_is_of_another_schema(
    database: Database, oldest: str, marked: str
) -> None:
    migrate_to_the_next(database, oldest=oldest, marked=marked)
    with pytest.raises(ConfigurationError, match=r"newer RLT.*9998"):
        Database(database.url).start()


def test_a_mark_is_of_schemas_by_number_alone(database: Database) -> None:
    with database.transaction() as session, pytest.raises(ValueError, match="four figures"):
        note_readers(session.connection(), schema="1' ; DROP TABLE jobs")
