"""What a process counts for projects: refused at the quota, told to the others, a new day begins anew."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rlt_core.errors import QuotaExceededError, StorageUnavailableError
from rlt_core.schemas.projects import Quotas
from rlt_service.access.meter import REMEMBERED_S, Meter
from rlt_service.store.database import Database
from rlt_service.store.project_uses import Counted, ProjectDay, ProjectUses
from rlt_service.store.projects import ProjectStore
from tests.support.schema import lay_schema


@dataclass
class Clocks:
    """Both clocks of a meter, moved by hand."""

    now: datetime = field(default_factory=lambda: datetime(2030, 1, 31, 12, tzinfo=UTC))
    seconds: float = 0.0

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(lay_schema(tmp_path))
    database.start()
    yield database
    database.close()


def meter_on(uses: ProjectUses, clocks: Clocks) -> Meter:
    return Meter(uses, clock=lambda: clocks.seconds, now=lambda: clocks.now)


def admit(meter: Meter, project_id: str) -> None:
    asyncio.run(meter.admit(project_id))


def test_calls_are_let_in_up_to_the_days_quota_and_again_the_next_day(database: Database, clocks: Clocks) -> None:
    made = ProjectStore(database).create("algebra", Quotas(requests_per_day=2))
    meter = meter_on(ProjectUses(database), clocks)
    for _ in range(2):
        admit(meter, made.id)
    with pytest.raises(QuotaExceededError, match="2 of its 2 calls today") as error:
        admit(meter, made.id)
    assert error.value.retry_after_s == 12 * 3600
    clocks.pass_by(12 * 3600)
    admit(meter, made.id)
    meter.tell()
    days = [ProjectUses(database).add(made.id, day, Counted()) for day in ("2030-01-31", "2030-02-01")]
    assert [day and day.told.requests for day in days] == [2, 1]


def test_tokens_count_when_they_are_known_and_refuse_the_next_call(database: Database, clocks: Clocks) -> None:
    made = ProjectStore(database).create("algebra", Quotas(tokens_per_day=10))
    meter = meter_on(ProjectUses(database), clocks)
    admit(meter, made.id)
    admit(meter, made.id)
    meter.spend(made.id, 12)
    with pytest.raises(QuotaExceededError, match="12 of its 10 tokens today"):
        admit(meter, made.id)


def test_what_another_process_told_counts_as_soon_as_it_is_read(database: Database, clocks: Clocks) -> None:
    made = ProjectStore(database).create("algebra", Quotas(requests_per_day=3))
    here, there = (meter_on(ProjectUses(database), clocks) for _ in range(2))
    admit(here, made.id)
    for _ in range(2):
        admit(there, made.id)
    there.tell()
    admit(here, made.id)  # it cannot know yet
    clocks.pass_by(REMEMBERED_S)
    with pytest.raises(QuotaExceededError, match="4 of its 3"):
        admit(here, made.id)


def test_a_quota_that_was_raised_holds_within_seconds(database: Database, clocks: Clocks) -> None:
    projects = ProjectStore(database)
    made = projects.create("algebra", Quotas(requests_per_day=0))
    meter = meter_on(ProjectUses(database), clocks)
    with pytest.raises(QuotaExceededError):
        admit(meter, made.id)
    projects.bound("algebra", Quotas(requests_per_day=1))
    clocks.pass_by(REMEMBERED_S)
    admit(meter, made.id)


class FullDisk(ProjectUses):
    """A database that cannot be written for now."""

    full = False

    def add(self, project_id: str, day: str, more: Counted) -> ProjectDay | None:
        if self.full:
            raise StorageUnavailableError("the disk is full")
        return super().add(project_id, day, more)


def test_what_could_not_be_told_is_told_later_once(database: Database, clocks: Clocks) -> None:
    made = ProjectStore(database).create("algebra", Quotas())
    uses = FullDisk(database)
    meter = meter_on(uses, clocks)
    admit(meter, made.id)
    meter.spend(made.id, 5)
    uses.full = True
    meter.tell()
    uses.full = False
    meter.tell()
    meter.tell()
    found = uses.add(made.id, "2030-01-31", Counted())
    assert found is not None
    assert found.told == Counted(requests=1, tokens=5)


def test_a_meter_that_ends_tells_the_rest(database: Database) -> None:
    made = ProjectStore(database).create("algebra", Quotas())
    meter = Meter(ProjectUses(database))
    meter.start()
    admit(meter, made.id)
    meter.stop()
    assert ProjectStore(database).get("algebra").used.requests_per_day == 1
