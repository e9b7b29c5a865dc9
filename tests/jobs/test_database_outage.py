"""A database that goes while a job trains, on real processes and a real Postgres: the job outlives it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.parts import stub_plant
from benchmarks.reliability.plant import LEASE_S, Plant, is_gone, wait_for
from rlt_core.schemas.trainer import EXIT_LEASE_LOST
from tests.support.postgres import Postgres, own_postgres

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]


@pytest.fixture
def server() -> Iterator[Postgres]:
    with own_postgres() as server:
        yield server


@pytest.fixture
def plant(server: Postgres, tmp_path: Path) -> Iterator[Plant]:
    # A single crash would end the job.
    plant = stub_plant(tmp_path / "home", database_url=server.url("postgres"), RLT_MAX_CRASHES="1")
    try:
        plant.start(workers=1)
        yield plant
    finally:
        left = plant.end()
    assert left == []


def test_a_job_outlives_a_database_that_is_away_for_longer_than_a_lease(server: Postgres, plant: Plant) -> None:
    job = plant.submit(plant.promoted("steps=1 step_s=8", number=1))
    pids = wait_for(lambda: plant.pids_of(job.id, 1), what="its trainer runs")
    server.stop()
    back_s = time.monotonic() + 2 * LEASE_S
    wait_for(lambda: all(map(is_gone, pids)), what="the trainer, which hears no beat, is gone")
    time.sleep(max(0.0, back_s - time.monotonic()))
    server.start()
    wait_for(lambda: plant.has_ended(job.id), what="the job has ended")
    book = book_of(plant, job.id)
    assert book.job.status == "succeeded"
    [given_back] = [event.data for event in book.events if event.type == "requeued"]
    assert given_back["crashes"] == 0
    assert f"exit code {EXIT_LEASE_LOST}" in given_back["reason"]
    assert (book.job.attempt, book.versions, book.moves, book.evaluations) == (2, 1, 1, 1)
    assert book.faults(save_every=1) == []
