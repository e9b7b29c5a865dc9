"""What only Postgres can do to us: its URL, its limits, deadlocks, a restart below a running service."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.orm import Session

from rlt_core.errors import ConfigurationError, StorageUnavailableError
from rlt_core.schemas.jobs import QUEUE, WarmupSpec
from rlt_service.store import asking
from rlt_service.store.database import Database
from rlt_service.store.faults import StorageFullError, TransactionLostError
from rlt_service.store.job_rows import find_job
from rlt_service.store.jobs import JobStore
from rlt_service.store.pipeline_rows import steps_of
from rlt_service.store.pipelines import PipelineStore
from rlt_service.store.postgres import postgres_engine
from rlt_service.store.retries import TRIES, tried_again
from tests.core.pipeline_specs import WARMUP, pipeline, step
from tests.support.postgres import Postgres, own_postgres, postgres_url


@pytest.fixture
def url() -> Iterator[str]:
    with postgres_url() as url:
        yield url


@pytest.fixture
def postgres(url: str) -> Iterator[Database]:
    database = Database(url)
    database.start()
    yield database
    database.close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_each_usual_spelling_of_the_url_opens_the_database(url: str, scheme: str, warmup: WarmupSpec) -> None:
    database = Database(url.replace("postgresql", scheme, 1))
    database.start()
    database.check()
    assert JobStore(database).submit(warmup).status == "queued"
    database.close()


@pytest.mark.parametrize("url", ["postgresql+asyncpg://u:hidden@h/d", "mysql://u:hidden@h/d", "postgresql://[u:hidden"])
def test_another_driver_or_database_is_refused_without_saying_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="RLT_DATABASE_URL") as caught:
        Database(url).start()
    assert "hidden" not in caught.value.detail


def test_a_server_that_cannot_be_reached_is_named_without_the_password() -> None:
    with pytest.raises(StorageUnavailableError, match=r"u:\*\*\*@.*RLT_DATABASE_URL") as caught:
        Database("postgresql://u:hidden@/d?host=/nowhere").start()
    assert "hidden" not in caught.value.detail


def test_nobody_waits_without_end_and_what_the_url_says_wins(url: str) -> None:
    def shown(given: str) -> list[str]:
        engine = postgres_engine(make_url(given))
        with engine.connect() as connection:
            names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "timezone")
            found = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
        engine.dispose()
        return found

    assert shown(url) == ["30s", "1min", "30s", "UTC"]
    assert shown(f"{url}&options=-c%20lock_timeout%3D7s") == ["7s", "1min", "30s", "UTC"]


def test_what_only_reads_sees_one_moment_and_cannot_write(postgres: Database, warmup: WarmupSpec) -> None:
    jobs = JobStore(postgres)
    count = text("SELECT count(*) FROM jobs")
    with postgres.reading() as session:
        before = session.scalar(count)
        jobs.submit(warmup)
        assert (before, session.scalar(count)) == (0, 0)

    def write() -> None:
        with postgres.reading() as session:
            session.execute(text("DELETE FROM jobs"))

    with pytest.raises(StorageFullError, match="read-only"):
        write()


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", StorageFullError),
        ("25006", StorageFullError),
        ("42501", StorageFullError),
        ("53300", StorageUnavailableError),
        ("57P01", StorageUnavailableError),
        ("55P03", StorageUnavailableError),
        ("57014", StorageUnavailableError),
        ("XX001", StorageUnavailableError),
        ("40P01", TransactionLostError),
        ("40001", TransactionLostError),
    ],
)
def test_each_fault_of_the_server_is_a_503_of_its_kind(
    postgres: Database, state: str, kind: type[StorageUnavailableError]
) -> None:
    def fail() -> None:
        with postgres.transaction() as session:
            session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = '{state}'; END $$"))

    with pytest.raises(StorageUnavailableError, match="broken") as caught:
        fail()
    assert type(caught.value) is kind
    postgres.check()


def test_a_mistake_of_ours_is_no_fault_of_the_server(postgres: Database) -> None:
    def fail() -> None:
        with postgres.transaction() as session:
            session.execute(text("SELECT nothing"))

    with pytest.raises(Exception, match="nothing") as caught:
        fail()
    assert not isinstance(caught.value, StorageUnavailableError)


def test_of_two_in_a_deadlock_the_one_that_was_broken_off_is_carried_out_again(
    postgres: Database, warmup: WarmupSpec
) -> None:
    ids = [JobStore(postgres).submit(warmup).id for _ in range(2)]
    both_hold_one = threading.Barrier(2)
    tries: list[int] = []

    def lock(session: Session, job_id: str) -> None:
        session.execute(text("UPDATE jobs SET priority = priority + 1 WHERE id = :id"), {"id": job_id})

    @tried_again
    def raise_both(first: str, second: str) -> None:
        tries.append(1)
        with postgres.transaction() as session:
            lock(session, first)
            if len(tries) <= 2:
                both_hold_one.wait(timeout=20.0)
            lock(session, second)

    with ThreadPoolExecutor(max_workers=2) as pool:
        found = [pool.submit(raise_both, *order) for order in (ids, ids[::-1])]
    assert [item.exception() for item in found] == [None, None]
    assert len(tries) == 3
    with postgres.reading() as session:
        assert list(session.scalars(text("SELECT priority FROM jobs"))) == [2, 2]


def test_what_is_lost_each_time_is_given_up() -> None:
    tries: list[int] = []

    @tried_again
    def lose() -> None:
        tries.append(1)
        raise TransactionLostError("again")

    with pytest.raises(TransactionLostError):
        lose()
    assert len(tries) == TRIES


def test_a_claim_goes_past_a_job_whose_row_another_holds(postgres: Database, warmup: WarmupSpec) -> None:
    jobs = JobStore(postgres)
    held, free = (jobs.submit(warmup).id for _ in range(2))
    with postgres.transaction() as session:
        session.execute(text("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE"), {"id": held})
        claimed = jobs.claim(queue=QUEUE, worker="w1")
    assert claimed is not None
    assert claimed.job.id == free


@pytest.fixture
def server() -> Iterator[Postgres]:
    with own_postgres() as server:
        yield server


def test_a_server_that_was_started_again_is_met_without_a_restart_of_ours(server: Postgres, warmup: WarmupSpec) -> None:
    database = Database(server.url("postgres"))
    database.start()
    jobs = JobStore(database)
    first = jobs.submit(warmup)
    with database.reading() as one, database.reading() as two:  # several connections that will be dead
        assert one.scalar(text("SELECT 1")) == two.scalar(text("SELECT 1"))
    server.stop()
    with pytest.raises(StorageUnavailableError, match="RLT_DATABASE_URL") as caught:
        jobs.submit(warmup)
    assert not isinstance(caught.value, StorageFullError)
    server.start()
    claimed = jobs.claim(queue=QUEUE, worker="w1")
    assert claimed is not None
    assert claimed.job.id == first.id
    with database.reading() as one, database.reading() as two:
        assert one.scalar(text("SELECT 1")) == two.scalar(text("SELECT 1"))
    database.close()


def test_a_restart_while_nobody_asked_is_not_noticed(server: Postgres) -> None:
    database = Database(server.url("postgres"))
    database.start()
    jobs = JobStore(database)
    assert jobs.counts() == {}
    server.stop()
    server.start()
    assert jobs.counts() == {}
    database.close()


def test_a_step_that_is_claimed_while_its_pipeline_is_asked_to_end_is_asked_too(postgres: Database) -> None:
    jobs, pipelines = JobStore(postgres), PipelineStore(postgres)
    job = pipelines.submit(pipeline([step("one", WARMUP)]), taken_over={})
    underway = pipelines.settle(job.id)
    assert underway is not None
    begun = pipelines.begin(job.id, (1, "one"), underway.spec.steps[0].spec)
    assert begun is not None
    with postgres.transaction() as session:
        row = find_job(session, job.id)
        steps_of(session, job.id)  # it waits
        assert jobs.claim(queue=QUEUE, worker="w") is not None
        asking.cancel(session, row)
    found = jobs.get(begun.id)
    assert (found.status, found.cancel_requested) == ("running", True)
