"""Many at once, on both databases: each effect once, whoever comes second hears it, and nobody starves."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import pytest

from rlt_core.artifacts import adapter_sha256
from rlt_core.errors import AliasMovedError, IdempotencyInProgressError
from rlt_core.schemas.jobs import QUEUE, RlSpec, WarmupSpec
from rlt_core.schemas.teachers import Alias, ModelVersion
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.idempotency import CALL, FirstAnswer, FirstAnswers, KeyedCall
from rlt_service.store.job_rules import JobRules
from rlt_service.store.jobs import JobStore
from rlt_service.store.outbox import Outbox
from rlt_service.store.registry import Candidate, Registry
from rlt_service.store.shadows import ShadowStore
from tests.support.control import write_adapter

T = TypeVar("T")
MANY = 12


def at_once(call: Callable[[int], T], *, count: int = MANY) -> Sequence[T | Exception]:
    """Call from many threads in the same moment; give what each returned or raised."""
    barrier = Barrier(count)

    def one(number: int) -> T | Exception:
        barrier.wait()
        try:
            return call(number)
        except Exception as error:  # what it is, the test says
            return error

    with ThreadPoolExecutor(max_workers=count) as pool:
        return list(pool.map(one, range(count)))


def candidate(folder: Path, *, name: str = "algebra") -> Candidate:
    return Candidate(
        name=name,
        role="teacher",
        base_model="tiny-model",
        format="stratos@1",
        folder=folder,
        sha256=adapter_sha256(folder),
        lora_rank=4,
    )


@pytest.fixture
def made(registry: Registry, artifacts: ArtifactStore) -> Callable[[int], ModelVersion]:
    folder = write_adapter(artifacts.root / "imports" / "algebra")
    return lambda _: registry.register(candidate(folder))


def test_registrations_at_once_get_numbers_of_their_own_without_a_gap(made: Callable[[int], ModelVersion]) -> None:
    found = at_once(made)
    assert [item for item in found if isinstance(item, Exception)] == []
    numbers = sorted(item.number for item in found if not isinstance(item, Exception))
    assert numbers == list(range(1, MANY + 1))


@pytest.mark.parametrize("alias", ["default", "fresh"])
def test_of_moves_at_once_one_wins_and_the_others_hear_where_the_alias_points(
    registry: Registry, made: Callable[[int], ModelVersion], alias: str
) -> None:
    versions = [made(number).version for number in range(MANY)]
    before = "tiny@0" if alias == "default" else None

    def move(number: int) -> Alias:
        return registry.move_alias("teacher", alias, versions[number], expected=before, reason="mine")

    found = at_once(move)
    [won] = [item for item in found if isinstance(item, Alias)]
    lost = [item for item in found if isinstance(item, AliasMovedError)]
    assert len(lost) == MANY - 1
    assert {error.extra["version"] for error in lost} == {won.version}
    assert registry.get_alias("teacher", alias).version == won.version
    assert registry.alias_history("teacher", alias).data[0].previous == before


def test_no_more_of_a_kind_run_than_the_rules_allow_however_many_claim(database: Database, rl: RlSpec) -> None:
    jobs = JobStore(database, JobRules(max_running={"rl": 3}))
    for _ in range(MANY):
        jobs.submit(rl)
    found = at_once(lambda number: jobs.claim(queue=QUEUE, worker=f"w{number}"))
    assert [item for item in found if isinstance(item, Exception)] == []
    assert jobs.counts() == {"queued": MANY - 3, "running": 3}


def test_a_hundred_same_submissions_make_one_job(database: Database, warmup: WarmupSpec) -> None:
    jobs = JobStore(database)

    def submit(_: int) -> str:
        token = CALL.set(KeyedCall(key="once", fingerprint=lambda: "f" * 64))
        try:
            return jobs.submit(warmup).id
        finally:
            CALL.reset(token)

    found = at_once(submit, count=100)
    assert len([item for item in found if isinstance(item, str)]) == 1
    assert len([item for item in found if isinstance(item, IdempotencyInProgressError)]) == 99
    assert jobs.counts() == {"queued": 1}


def test_answers_that_are_kept_at_once_under_one_key_are_no_fault(database: Database) -> None:
    answers = FirstAnswers(database)

    def save(number: int) -> None:
        answers.save("key", FirstAnswer(fingerprint="f" * 64, status=200, headers={}, body=str(number).encode()))

    assert at_once(save) == [None] * MANY
    assert answers.find("key") is not None


def test_one_of_many_wins_the_turn_to_ring_a_bell(database: Database) -> None:
    outbox = Outbox(database)
    assert sorted(map(str, at_once(lambda _: outbox.take_turn(QUEUE)))) == ["False"] * (MANY - 1) + ["True"]


def test_servers_that_start_at_once_agree_on_the_base(database: Database, artifacts: ArtifactStore) -> None:
    fresh = Registry(database, artifacts)
    found = at_once(lambda _: fresh.ensure_base(name="tiny", base_model="tiny-model", format="stratos@1"))
    assert {item.version if isinstance(item, ModelVersion) else repr(item) for item in found} == {"tiny@0"}
    assert len(fresh.alias_history("teacher", "default").data) == 1


def test_shadows_that_are_set_at_once_leave_one(
    registry: Registry, database: Database, made: Callable[[int], ModelVersion]
) -> None:
    shadows = ShadowStore(database, max_pairs=10)
    versions = [made(number).version for number in range(MANY)]
    assert registry.get_alias("teacher", "default").version == "tiny@0"
    found = at_once(
        lambda number: shadows.put("default", versions[number], share=0.5, max_in_flight=2, student="default")
    )
    assert [item for item in found if isinstance(item, Exception)] == []
    assert shadows.get("default").version in versions


def test_five_hundred_calls_at_once_wait_for_a_connection_and_all_get_one(
    registry: Registry, jobs: JobStore, warmup: WarmupSpec
) -> None:
    def call(number: int) -> str:
        return jobs.submit(warmup).id if number % 8 == 0 else registry.resolve("teacher", "default").version

    found = at_once(call, count=512)
    assert [item for item in found if isinstance(item, Exception)] == []
    assert jobs.counts() == {"queued": 64}
