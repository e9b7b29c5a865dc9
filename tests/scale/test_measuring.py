"""The parts of `make bench-scale` at a size of seconds: workers, listeners, limits, answers read."""

import resource
from pathlib import Path

import pytest

from benchmarks.scale import listeners, queue, reading, replicas
from benchmarks.scale.listeners import TooFewFilesError, make_room
from benchmarks.scale.replicas import Seen, figures_of, window_of
from benchmarks.scale.service_time import measured


def test_too_few_files_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 2048))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("the limit cannot be raised so far"))
    with pytest.raises(
        TooFewFilesError, match=r"2,000 listeners need 2,256 open files .* allows 2,048.*ulimit -Hn 2256"
    ):
        make_room(2_000)


def test_the_soft_limit_is_raised_as_far_as_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    make_room(500)
    make_room(2_000)
    assert raised == [(2_256, 4096)]


def test_a_window_is_summarised_with_what_is_over_the_engines_time() -> None:
    seen = Seen(latencies_s=[0.5, 0.7], engine_s=[0.4, 0.4], failed=1)
    found = figures_of(seen, callers=8, window_s=2.0, cpu_s=0.1, own_s=0.5)
    assert found == {
        "callers": 8,
        "requests": 2,
        "failed": 1,
        "requests_per_s": 1.0,
        "p50_ms": 500.0,
        "p99_ms": 700.0,
        "server_cpu_ms": 50.0,
        "server_cores": 0.05,
        "callers_cores": 0.25,
        "engine_mean_s": 0.4,
        "overhead_p50_ms": 100.0,
        "overhead_p99_ms": 300.0,
    }
    assert figures_of(Seen(failed=3), callers=8, window_s=2.0, cpu_s=0.1, own_s=0.5) == {
        "callers": 8,
        "requests": 0,
        "failed": 3,
    }


def test_a_window_of_timed_calls_is_long_enough_for_one_to_end() -> None:
    answer_s = measured().explain_s(replicas.MAX_TOKENS, at_work=replicas.CALLERS)
    assert window_of("explain", share=0.01) == pytest.approx(0.01 * replicas.WINDOW_S)
    assert window_of("explain-timed", share=0.01) == 2 * answer_s
    assert window_of("explain-timed", share=1.0) == replicas.TIMED_WINDOW_S


def test_an_answer_of_many_tokens_is_read(tmp_path: Path) -> None:
    ((name, found),) = reading.measure(["explain"], share=0.01, folder=tmp_path)
    assert name == "explain"
    assert 0.0 < found["read_us_a_token"] < 100.0
    assert found["bytes_a_token"] > 10.0


@pytest.mark.processes
def test_simulated_workers_finish_jobs_and_start_urgent_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "SUBMITTED", 50)  # each is a write to the disk
    monkeypatch.setattr(queue, "PROCESSES", 2)
    monkeypatch.setattr(queue, "HOLD_S", 5.0)
    monkeypatch.setattr(queue, "STEADY_S", 300.0)
    ((kind, found),) = queue.measure(["sqlite"], share=0.01, folder=tmp_path)
    assert kind == "sqlite"
    assert (found["queued"], found["workers"]) == (1_000, 10)
    assert found["errors"] == 0, found["first_errors"]
    assert found["jobs_per_s"] > 0
    assert found["started"] > 0
    assert found["bytes_queued"] > 100


@pytest.mark.processes
@pytest.mark.timeout(180)
def test_servers_are_called_and_listened_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (replicas, listeners):
        monkeypatch.setattr(module, "best_kind", lambda: "sqlite")
    monkeypatch.setattr(listeners, "COUNTS", (20,))
    monkeypatch.setattr(replicas, "WARM_S", 0.2)
    monkeypatch.setattr(replicas, "MAX_TOKENS", 8)
    wanted = [f"{call}-1" for call in (*replicas.CALLS, "explain-timed")]
    found = dict(replicas.measure(wanted, share=0.05, folder=tmp_path / "replicas"))
    assert list(found) == wanted
    for name, seen in found.items():
        assert seen["failed"] == 0, name
        assert seen["requests"] > 0, name
    assert found["explain-timed-1"]["overhead_p50_ms"] < found["explain-timed-1"]["p50_ms"]
    ((_, heard),) = listeners.measure(["20"], share=0.05, folder=tmp_path / "sse")
    assert (heard["opened"], heard["broken"]) == (20, 0), heard["first_broken"]
    assert heard["events"] >= 20
