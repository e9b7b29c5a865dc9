import pytest
from pydantic import ValidationError

from rlt_service.jobs.lease import LeaseWatcher
from rlt_service.settings import Settings
from rlt_service.store.jobs import RunningJob


def sight(*, attempt: int = 1, beat: int = 0) -> RunningJob:
    return RunningJob(id="job_1", attempt=attempt, beat=beat)


def test_a_counter_that_stands_still_for_a_lease_is_a_lost_supervisor() -> None:
    watcher = LeaseWatcher(lease_s=30.0)
    assert watcher.expired([sight()], now_s=100.0) == []
    assert watcher.expired([sight()], now_s=129.9) == []
    assert watcher.expired([sight()], now_s=130.0) == [sight()]


def test_each_beat_and_each_attempt_renews_the_lease() -> None:
    watcher = LeaseWatcher(lease_s=30.0)
    watcher.expired([sight()], now_s=0.0)
    watcher.expired([sight(beat=1)], now_s=29.0)
    assert watcher.expired([sight(beat=1)], now_s=58.0) == []
    assert watcher.expired([sight(attempt=2, beat=1)], now_s=59.0) == []
    assert watcher.expired([sight(attempt=2, beat=1)], now_s=89.0) != []


def test_a_job_is_judged_from_the_first_look_not_from_the_watchers_start() -> None:
    watcher = LeaseWatcher(lease_s=30.0)
    watcher.expired([], now_s=0.0)
    assert watcher.expired([sight()], now_s=1000.0) == []


def test_a_job_that_was_away_is_judged_anew() -> None:
    watcher = LeaseWatcher(lease_s=30.0)
    watcher.expired([sight()], now_s=0.0)
    watcher.expired([], now_s=10.0)
    assert watcher.expired([sight()], now_s=31.0) == []


@pytest.mark.parametrize(("lease_s", "heartbeat_s"), [(30.0, 10.1), (30.0, 600.0), (20.0, 6.67)])
def test_a_lease_that_does_not_hold_three_beats_is_refused(lease_s: float, heartbeat_s: float) -> None:
    with pytest.raises(ValidationError, match=r"heartbeat_s\n.*must hold three beats"):
        Settings(lease_s=lease_s, heartbeat_s=heartbeat_s)


@pytest.mark.parametrize(("lease_s", "heartbeat_s"), [(30.0, 5.0), (30.0, 10.0), (0.3, 0.1)])
def test_a_lease_of_three_beats_is_taken(lease_s: float, heartbeat_s: float) -> None:
    assert Settings(lease_s=lease_s, heartbeat_s=heartbeat_s).heartbeat_s == heartbeat_s
