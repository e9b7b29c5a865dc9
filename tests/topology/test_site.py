"""Two of each server behind nginx, three workers, Postgres and Valkey: `make bench-topology` at a size for every day.

In this order: each test leaves the site whole.
"""

import pytest

from benchmarks.reliability.trial import Trial
from benchmarks.topology.rows import kill_trials, loop_trials, promotion_trials, rolling_trials
from benchmarks.topology.site import REPLICAS, ROLES, WORKERS, Site

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

SEED = 2
SOON_S = 0.5
"""What `make bench-topology` waits after each move is three seconds."""


def assert_held(trials: list[Trial]) -> None:
    failed = [f"{trial.number}: {trial.fault}: {trial.detail}" for trial in trials if not trial.passed]
    assert trials
    assert not failed, "\n".join(failed)


def test_a_job_explains_scores_and_is_promoted_through_the_gateway(site: Site) -> None:
    assert len(site.replicas) == REPLICAS * len(ROLES)
    assert len(site.plant.workers) == WORKERS
    assert_held(list(loop_trials(site, count=1, seed=SEED)))


def test_a_promotion_and_a_rollback_reach_every_replica_within_two_seconds(site: Site) -> None:
    trials = list(promotion_trials(site, count=2, seed=SEED, settled_s=SOON_S))
    assert [trial.fault.split()[0] for trial in trials] == ["promotion", "rollback"]
    assert_held(trials)


def test_whichever_process_is_killed_no_call_fails_and_no_job_is_lost(site: Site) -> None:
    trials = list(kill_trials(site, count=8, seed=SEED))
    kinds = {"control", "teacher", "student", "worker", "trainer", "broker", "gateway", "database"}
    assert {trial.fault for trial in trials[:-1]} == kinds
    assert_held(trials)


def test_everything_is_restarted_under_load_without_a_failed_call(site: Site) -> None:
    assert_held(list(rolling_trials(site, count=1, seed=SEED)))
