import math
from collections.abc import Sequence

import pytest

from rlt_core.errors import ScoringError
from rlt_service.engine.self_check import CheckResult, check_scoring, judge


def test_equal_logprobs_and_the_right_count_pass() -> None:
    assert judge(ours=[-1.0, -2.0], plain=[-1.00005, -2.0], counted=2, tolerance=1e-4).fault == ""


@pytest.mark.parametrize(
    ("ours", "counted", "fault"),
    [
        ([-1.0, -2.001], 2, "differ"),
        ([-1.0, math.nan], 2, "differ"),
        ([-1.0], 2, "1 log-probs for 2"),
        ([-1.0, -2.0], 0, "another code ran"),
        ([-1.0, -2.0], 3, "another code ran"),
    ],
)
def test_each_fault_is_found_and_named(ours: list[float], counted: int, fault: str) -> None:
    assert fault in judge(ours=ours, plain=[-1.0, -2.0], counted=counted, tolerance=1e-4).fault


async def test_half_precision_may_differ_more_but_not_anyhow() -> None:
    assert (await _check(dtype="bfloat16", off_by=0.05)).fault == ""
    assert (await _check(dtype="float32", off_by=0.05)).fault
    assert (await _check(dtype="bfloat16", off_by=0.5)).fault


async def test_fault_is_a_warning_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    await _check(dtype="float32", off_by=0.0)
    assert caplog.text == ""
    await _check(dtype="float32", off_by=0.5)
    assert "WARNING" in caplog.text
    assert "only temperature 1 can be scored: its log-probs differ" in caplog.text


async def test_worker_that_answers_as_vllm_does_is_a_fault_not_a_failed_start() -> None:
    assert (await _check(dtype="float32", off_by=None)).fault == "95 log-probs"


async def test_worker_that_is_wrong_only_where_it_reads_the_cache_is_a_fault() -> None:
    async def plainly(ids: Sequence[int], start: int) -> Sequence[float]:
        return [-1.0] * (len(ids) - start)

    async def by_worker(ids: Sequence[int], start: int, temperature: float) -> Sequence[float]:
        return await plainly(ids, start)

    async def from_cache(ids: Sequence[int], start: int) -> Sequence[float]:
        return [-1.5] * (len(ids) - start)

    async def scored_positions() -> int:
        return next(counts)

    counts = iter((0, 56, 56, 112))
    found = await check_scoring(
        vocabulary=range(100),
        dtype="float32",
        score_by_worker=by_worker,
        score_from_cache=from_cache,
        score_plainly=plainly,
        sample=drawn,
        scored_positions=scored_positions,
    )
    assert "differ" in found.fault


async def test_worker_that_does_not_know_temperatures_is_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    assert "at temperature 0.7" in (await _check(dtype="float32", off_by=0.0, at_any_temperature=-1.0)).fault
    assert "WARNING" in caplog.text


async def drawn(ids: Sequence[int], temperature: float) -> tuple[int, float]:
    return 7, -1.0 / temperature


async def _check(*, dtype: str, off_by: float | None, at_any_temperature: float | None = None) -> CheckResult:
    counts = iter((0, 56, 56, 112))  # the probe has 96 tokens, 56 of them from its start on; it is scored twice

    async def plainly(ids: Sequence[int], start: int) -> Sequence[float]:
        return [-1.0] * (len(ids) - start)

    async def by_worker(ids: Sequence[int], start: int, temperature: float) -> Sequence[float]:
        if off_by is None:
            raise ScoringError("95 log-probs")
        if at_any_temperature is not None:
            return [at_any_temperature] * (len(ids) - start)
        return [-1.0 / temperature + off_by] * (len(ids) - start)

    async def from_cache(ids: Sequence[int], start: int) -> Sequence[float]:
        return await by_worker(ids, start, 1.0)

    async def scored_positions() -> int:
        return next(counts)

    return await check_scoring(
        vocabulary=range(100),
        dtype=dtype,
        score_by_worker=by_worker,
        score_from_cache=from_cache,
        score_plainly=plainly,
        sample=drawn,
        scored_positions=scored_positions,
    )
