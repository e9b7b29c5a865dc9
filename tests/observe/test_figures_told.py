"""What /metrics makes of figures, of waits before an engine, of silent jobs, of moves of an alias and of listeners."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from rlt_core.errors import StorageUnavailableError
from rlt_core.schemas.base import now_utc
from rlt_service.engine.fair_queue import Flow
from rlt_service.engine.gate import Gate
from rlt_service.installation_metrics import InstallationMetrics
from rlt_service.jobs.lease import LeaseWatcher
from rlt_service.metrics import Metrics
from rlt_service.store.figures import Figures, StartedJob
from rlt_service.store.jobs import RunningJob
from tests.support.service import make_app, serving


def figures(*started: tuple[int, float], failed: int = 0) -> Figures:
    return Figures(
        jobs={("rl", "failed"): failed},
        retries={},
        queues={},
        started=[StartedJob(ordinal=ordinal, queue="train", waited_s=waited_s) for ordinal, waited_s in started],
        busy_workers=0,
        bells=0,
        datasets=0,
        dataset_rows=0,
        dataset_bytes=0,
    )


def told(collector: Collector) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(collector)
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


async def test_a_claim_is_counted_once_and_those_before_the_first_look_never() -> None:
    looks: Iterator[Figures] = iter(
        [figures((1, 5.0)), figures((1, 5.0), (2, 0.2), (3, 70.0)), figures((2, 0.2), (3, 70.0))]
    )
    metrics = InstallationMetrics(lambda: next(looks), queues=[])
    counts: list[float] = []
    for _ in range(3):
        await metrics.refresh()
        counts.append(told(metrics)["rlt_job_claim_seconds_count['train']"])
    assert counts == [0, 2, 2]
    found = told(metrics)
    assert found["rlt_job_claim_seconds_bucket['0.5', 'train']"] == 1
    assert found["rlt_job_claim_seconds_sum['train']"] == 70.2


async def test_a_database_that_is_away_is_told_and_leaves_no_old_figures() -> None:
    away = False

    def read() -> Figures:
        if away:
            raise StorageUnavailableError("away")
        return figures(failed=3)

    metrics = InstallationMetrics(read, queues=["gpu"])
    await metrics.refresh()
    found = told(metrics)
    assert (found["rlt_database_up[]"], found["rlt_jobs_ended_total['failed', 'rl']"]) == (1, 3)
    assert found["rlt_queue_jobs['gpu']"] == 0
    away = True
    await metrics.refresh()
    found = told(metrics)
    assert found["rlt_database_up[]"] == 0
    assert not any(name.startswith("rlt_jobs") for name in found)


async def test_a_database_that_hangs_holds_up_no_scrape_and_one_thread() -> None:
    release, looks = threading.Event(), list[int]()

    def read() -> Figures:
        looks.append(1)
        release.wait(30)
        return figures()

    metrics = InstallationMetrics(read, queues=[], patience_s=0.05)
    await metrics.refresh()
    await metrics.refresh()
    assert told(metrics)["rlt_database_up[]"] == 0
    assert len(looks) == 1
    release.set()


async def test_waits_before_an_engine_are_counted_by_how_long_they_were() -> None:
    gate = Gate(capacity=1, reserve=0, beside=1)
    release = asyncio.Event()

    async def work() -> None:
        async with gate.turn(Flow()):
            await release.wait()

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.sleep(0.03)
    state = gate.state("any")
    assert (state.running, state.waiting, state.waited["+Inf"]) == (1, 2, 1)
    release.set()
    await asyncio.gather(*tasks)
    state = gate.state("any")
    assert (state.running, state.waiting, state.waited["+Inf"]) == (0, 0, 3)
    assert state.waited["0.02"] == 1
    assert state.waited_s > 0.05


def test_the_job_that_is_silent_longest_gives_the_age() -> None:
    watcher = LeaseWatcher(lease_s=30.0)
    quiet, loud = (RunningJob(id=name, attempt=1, beat=1) for name in ("quiet", "loud"))
    assert watcher.oldest_s(now_s=0.0) == 0.0
    watcher.expired([quiet, loud], now_s=0.0)
    watcher.expired([quiet, RunningJob(id="loud", attempt=1, beat=2)], now_s=10.0)
    assert watcher.oldest_s(now_s=12.0) == 12.0
    watcher.expired([RunningJob(id="loud", attempt=1, beat=2)], now_s=13.0)
    assert watcher.oldest_s(now_s=14.0) == 4.0


def test_the_first_answer_after_a_move_tells_how_long_it_took_and_later_ones_nothing() -> None:
    metrics = Metrics()
    metrics.note_served("teacher", moved_at=None)
    metrics.note_served("teacher", moved_at=now_utc() - timedelta(days=1))  # before this process began
    moved = now_utc()
    for _ in range(2):
        metrics.note_served("teacher", moved_at=moved)
    text = metrics.render().decode()
    assert 'rlt_promotion_lag_seconds_count{role="teacher"} 1.0' in text
    assert 'rlt_promotion_lag_seconds_count{role="student"} 0.0' in text


async def test_a_listener_of_an_event_stream_is_counted_while_it_listens(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    async with serving(app) as client:
        body = {"question": "1 + 1?", "solution": "2", "stream": True}
        assert (await client.post("/v1/explain", json=body)).status_code == 200
        text = (await client.get("/metrics")).text
    assert 'rlt_event_streams_open{route="/v1/explain"} 0.0' in text
    assert 'rlt_completions_total{call="explain",finish="stop"} 1.0' in text
    assert "rlt_http_requests_open 1.0" in text  # the scrape itself
