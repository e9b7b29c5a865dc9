import threading
import time
from collections.abc import Sequence

import pytest

from rlt_core.errors import StorageUnavailableError
from rlt_core.schemas.jobs import QUEUE
from rlt_service.jobs.reconciler import Reconciler
from rlt_service.store.jobs import RunningJob
from tests.jobs.fake_bell import FakeBell
from tests.jobs.site import Site
from tests.support.waiting import wait_until


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make(site: Site, bell: FakeBell, *, clock: Clock | None = None) -> Reconciler:
    return Reconciler(
        site.settings,
        jobs=site.jobs,
        outbox=site.outbox,
        bell=bell,
        artifacts=site.artifacts,
        retention=site.retention,
        clock=clock or Clock(),
    )


def test_a_submission_is_rung_for_once(site: Site) -> None:
    bell = FakeBell()
    reconciler = make(site, bell)
    site.submit("ok")
    for _ in range(3):
        reconciler.round()
    assert bell.rung == [QUEUE]


def test_a_submission_during_an_outage_is_rung_for_when_the_broker_is_back(site: Site) -> None:
    bell = FakeBell()
    reconciler = make(site, bell)
    bell.away = True
    job = site.submit("ok")
    reconciler.round()
    assert (bell.rung, reconciler.broker_detail) == ([], "no broker")
    assert site.jobs.get(job.id).status == "queued"
    bell.away = False
    reconciler.round()
    assert (bell.rung, reconciler.broker_detail) == ([QUEUE], "")


def test_a_bell_that_was_lost_is_rung_again_but_not_in_every_round(site: Site) -> None:
    bell = FakeBell()
    reconciler = make(site, bell)
    site.submit("ok")
    reconciler.round()
    bell.waiting = 0  # the broker lost it
    for _ in range(5):
        reconciler.round()
        bell.waiting = 0
    assert bell.rung == [QUEUE, QUEUE]


def test_nobody_rings_while_a_bell_still_sounds_or_nothing_waits(site: Site) -> None:
    bell = FakeBell()
    reconciler = make(site, bell)
    site.submit("ok")
    reconciler.round()
    reconciler.round()
    site.jobs.claim(queue=QUEUE, worker="w1")
    bell.waiting = 0
    reconciler.round()
    assert bell.rung == [QUEUE]


def test_a_lost_lease_puts_the_job_back_and_rings_even_after_an_outage(site: Site) -> None:
    bell, clock = FakeBell(), Clock()
    reconciler = make(site, bell, clock=clock)
    job = site.submit("ok")
    site.jobs.claim(queue=QUEUE, worker="w1")
    bell.away = True
    reconciler.round()
    clock.now_s = site.settings.lease_s
    reconciler.round()
    assert site.jobs.get(job.id).status == "queued"
    bell.away = False
    reconciler.round()
    assert bell.rung == [QUEUE]


def test_a_wall_clock_that_jumps_takes_no_job_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = site.settings.model_copy(update={"lease_s": 60.0})
    watcher = Reconciler(
        patient,
        jobs=site.jobs,
        outbox=site.outbox,
        bell=FakeBell(),
        artifacts=site.artifacts,
        retention=site.retention,
    )
    job = site.submit("ok")
    site.jobs.claim(queue=QUEUE, worker="w1")
    watcher.round()
    wall_clock = time.time
    for jump_s in (-3600.0, 3600.0):
        monkeypatch.setattr(time, "time", lambda jump_s=jump_s: wall_clock() + jump_s)
        watcher.round()
        assert site.jobs.get(job.id).status == "running"


def test_a_job_that_ends_because_its_lease_ran_out_carries_its_trainers_last_words(site: Site) -> None:
    clock = Clock()
    reconciler = make(site, FakeBell(), clock=clock)
    job = site.submit("ok")
    for attempt in range(1, site.settings.max_crashes + 1):
        claimed = site.jobs.claim(queue=QUEUE, worker="w1")
        assert claimed is not None
        log = site.artifacts.log_path(job.id, attempt)
        log.parent.mkdir(parents=True)
        log.write_text("".join(f"line {line} of attempt {attempt}\n" for line in range(300)))
        reconciler.round()
        clock.now_s += site.settings.lease_s
        reconciler.round()
    ended = site.jobs.get(job.id)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == ("failed", "worker_lost")
    lines = ended.error.log_tail.splitlines()
    assert (len(lines), lines[-1]) == (200, "line 299 of attempt 3")


def test_a_lost_attempt_that_wrote_no_log_is_given_back_all_the_same(site: Site) -> None:
    clock = Clock()
    reconciler = make(site, FakeBell(), clock=clock)
    job = site.submit("ok")
    site.jobs.claim(queue=QUEUE, worker="w1")
    site.artifacts.log_path(job.id, 1).mkdir(parents=True)  # nothing that could be read as a log
    reconciler.round()
    clock.now_s = site.settings.lease_s
    reconciler.round()
    assert site.jobs.get(job.id).status == "queued"


def test_two_watchers_give_a_lost_job_back_once(site: Site) -> None:
    job = site.submit("ok")
    site.jobs.claim(queue=QUEUE, worker="w1")
    clock = Clock()
    watchers = [make(site, FakeBell(), clock=clock) for _ in range(2)]
    for watcher in watchers:
        watcher.round()
    clock.now_s = site.settings.lease_s
    threads = [threading.Thread(target=watcher.round) for watcher in watchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert site.event_types(job.id) == ["queued", "started", "requeued"]


def test_waking_the_thread_brings_a_round_now(site: Site) -> None:
    bell = FakeBell()
    slow = site.settings.model_copy(update={"reconcile_s": 500.0, "lease_s": 1500.0})
    reconciler = Reconciler(
        slow, jobs=site.jobs, outbox=site.outbox, bell=bell, artifacts=site.artifacts, retention=site.retention
    )
    reconciler.start()
    site.submit("ok")
    reconciler.wake()
    # Twice where the submission fell into the first round, between the bells that are owed and those rung again.
    wait_until(lambda: QUEUE in bell.rung, what="the bell")
    reconciler.stop()


def test_a_job_that_beats_while_its_watcher_stands_still_is_left_alone(site: Site) -> None:
    job = site.submit("ok")
    site.jobs.claim(queue=QUEUE, worker="w1")
    clock = Clock()
    watcher = make(site, FakeBell(), clock=clock)
    watcher.round()
    running = site.jobs.running()
    site.jobs.beat(job.id, 1)  # after the watcher has read the rows, and before it acts
    clock.now_s = site.settings.lease_s
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.jobs, "running", lambda: running)
        watcher.round()
    assert site.jobs.get(job.id).status == "running"


def test_a_database_that_was_away_for_a_lease_takes_no_job_from_its_worker(site: Site) -> None:
    job = site.submit("ok")
    site.jobs.claim(queue=QUEUE, worker="w1")
    clock = Clock()
    watcher = make(site, FakeBell(), clock=clock)
    watcher.round()

    def away() -> list[RunningJob]:
        raise StorageUnavailableError("the database is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.jobs, "running", away)
        with pytest.raises(StorageUnavailableError):
            watcher.round()
    clock.now_s = site.settings.lease_s
    watcher.round()
    assert site.jobs.get(job.id).status == "running"
    clock.now_s += site.settings.lease_s  # nobody beats although beats could be stored again
    watcher.round()
    assert site.jobs.get(job.id).status == "queued"


def test_the_time_that_a_watcher_takes_to_read_makes_no_job_look_older(site: Site) -> None:
    job = site.submit("ok")
    site.jobs.claim(queue=QUEUE, worker="w1")
    clock = Clock()
    watcher = make(site, FakeBell(), clock=clock)
    watcher.round()
    running = site.jobs.running()

    def read_slowly() -> Sequence[RunningJob]:
        clock.now_s += site.settings.lease_s  # it stands still when it has read the rows
        return running

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.jobs, "running", read_slowly)
        watcher.round()
    assert site.jobs.get(job.id).status == "running"


def test_a_broker_that_is_away_is_noticed_while_nothing_waits(site: Site) -> None:
    bell = FakeBell()
    reconciler = make(site, bell)
    bell.away = True
    reconciler.round()
    assert reconciler.broker_detail == "no broker"
