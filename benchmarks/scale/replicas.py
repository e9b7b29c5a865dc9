"""Measure one to eight servers on loopback: calls a second, their times, and what the servers' processors did for them.

`control` reads a job, `submit` stores one, `explain` and `score` go through everything but a model. With an engine that
takes no time the callers are as fast as the servers; with one that takes measured times what is over is the overhead.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from benchmarks.scale.cells import percentile
from benchmarks.scale.databases import best_kind, lent
from benchmarks.scale.servers import Servers, running
from benchmarks.scale.service_time import ServiceTime, measured
from rlt_core.schemas.jobs import WarmupSpec
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore

COUNTS = (1, 2, 4, 8)
CALLS = ("control", "submit", "explain", "score")
TIMED = ("explain-timed", "score-timed")
"""The same with an engine that takes measured times."""
NAMES = tuple(f"{call}-{count}" for count in COUNTS for call in (*CALLS, *TIMED))
CALLERS = 8
"""Of each server, each with one call in flight; an engine's steps are as long as with so many at work."""
WARM_S, WINDOW_S, TIMED_WINDOW_S = 2.0, 12.0, 20.0
MAX_TOKENS = 48
ASKED: Mapping[str, Any] = {"question": "What are 2 and 3 together?", "solution": "The answer is 5."}
EXPLANATION = "Look: the first number gives 2; the second number gives 3; the sum becomes 5"
SPEC: dict[str, Any] = {"kind": "warmup", "role": "teacher", "target_name": "scale"}
Request = tuple[str, str, dict[str, Any] | None]
"""Method, path and body."""


@dataclass(slots=True)
class Seen:
    """What one window saw."""

    latencies_s: list[float] = field(default_factory=list[float])
    engine_s: list[float] = field(default_factory=list[float])
    """What the engine took of each, where it takes time."""
    failed: int = 0


def measure(pending: Sequence[str], *, share: float, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure what is asked for; the servers of one count are started once for each kind of engine."""
    kind, dataset = best_kind(), ""
    with lent(kind, folder / "database") as url:
        job = _stored_job(url)
        for count in COUNTS:
            for at_work, calls in ((0, CALLS), (CALLERS, TIMED)):
                wanted = [call for call in calls if f"{call}-{count}" in pending]
                if not wanted:
                    continue
                with running(folder / "home", count=count, database_url=url, at_work=at_work) as servers:
                    dataset = dataset or _uploaded(servers.addresses[0])
                    for call in wanted:
                        request = request_of(call, job=job, dataset=dataset)
                        found = asyncio.run(_measured(servers, call, request=request, share=share))
                        yield f"{call}-{count}", found | {"replicas": count, "database": kind}


def _stored_job(url: str) -> str:
    database = Database(url)
    database.start()
    try:
        return JobStore(database).submit(WarmupSpec.model_validate(SPEC | {"dataset": "ds_none"})).id
    finally:
        database.close()


def _uploaded(address: str) -> str:
    row = {**ASKED, "reasoning_trace": EXPLANATION}
    lines = "".join(json.dumps({**row, "id": str(number)}) + "\n" for number in range(8))
    headers = {"content-type": "application/x-ndjson"}
    answer = httpx.post(f"{address}/v1/datasets", content=lines, headers=headers, timeout=60.0, trust_env=False)
    return answer.raise_for_status().json()["id"]


async def _measured(servers: Servers, call: str, *, request: Request, share: float) -> dict[str, Any]:
    window_s = window_of(call, share=share)
    seen = Seen()
    callers = CALLERS * len(servers.addresses)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120.0)) as session:
        begins_s = time.monotonic() + WARM_S
        ends_s = begins_s + window_s
        calling = [
            asyncio.create_task(
                _call(session, servers, call, request=request, number=n, seen=seen, span=(begins_s, ends_s))
            )
            for n in range(callers)
        ]
        await asyncio.sleep(max(0.0, begins_s - time.monotonic()))
        cpu_s, own_s = servers.cpu_s(), time.process_time()
        await asyncio.sleep(max(0.0, ends_s - time.monotonic()))
        cpu_s, own_s = servers.cpu_s() - cpu_s, time.process_time() - own_s
        await asyncio.gather(*calling)
    return figures_of(seen, callers=callers, window_s=window_s, cpu_s=cpu_s, own_s=own_s)


async def _call(
    session: aiohttp.ClientSession,
    servers: Servers,
    call: str,
    *,
    request: Request,
    number: int,
    seen: Seen,
    span: tuple[float, float],
) -> None:
    address = servers.addresses[number % len(servers.addresses)]
    method, path, body = request
    engine_s = _engine_s(call, measured()) if call in TIMED else None
    turn = 0
    while (asked_s := time.monotonic()) < span[1]:
        turn += 1
        sent = body if body is None or "seed" not in body else {**body, "seed": 100_000 * number + turn}
        try:
            async with session.request(method, address + path, json=sent) as response:
                answer = await response.json()
                held = response.status < 400
        except (aiohttp.ClientError, TimeoutError):
            answer, held = {}, False
        now_s = time.monotonic()
        if not span[0] <= now_s < span[1]:  # by their ends: a window of few long calls is not the shorter for it
            continue
        if not held:
            seen.failed += 1
            continue
        seen.latencies_s.append(now_s - asked_s)
        if engine_s is not None:
            seen.engine_s.append(engine_s(answer))


def window_of(call: str, *, share: float) -> float:
    """Give the seconds of a window; one of timed calls is long enough for some to end in it, whatever the share."""
    if call not in TIMED:
        return WINDOW_S * share
    return max(TIMED_WINDOW_S * share, 2.0 * measured().explain_s(MAX_TOKENS, at_work=CALLERS))


def request_of(call: str, *, job: str, dataset: str) -> Request:
    """Give method, path and body of a call."""
    match call.removesuffix("-timed"):
        case "control":
            return "GET", f"/v1/jobs/{job}", None
        case "submit":
            # A job of a far day: no worker is there, and no bell is to be rung for it.
            return "POST", "/v1/train", {**SPEC, "dataset": dataset, "not_before": "2100-01-01T00:00:00Z"}
        case "explain":
            return "POST", "/v1/explain", {**ASKED, "max_tokens": MAX_TOKENS, "seed": 0}
        case "score":
            return "POST", "/v1/score", {**ASKED, "explanations": [EXPLANATION]}
        case other:
            raise ValueError(f"no such call: {other}")


def _engine_s(call: str, time_of: ServiceTime) -> Callable[[Mapping[str, Any]], float]:
    """Say how long the engine took for an answer, by the tokens that it tells."""
    if call == "explain-timed":
        return lambda answer: time_of.explain_s(answer["usage"]["completion_tokens"], at_work=CALLERS)
    return lambda answer: time_of.score_s(answer["usage"]["prompt_tokens"])


def figures_of(seen: Seen, *, callers: int, window_s: float, cpu_s: float, own_s: float) -> dict[str, Any]:
    """Summarise a window: `cpu_s` of all servers, `own_s` of the callers."""
    found: dict[str, Any] = {"callers": callers, "requests": len(seen.latencies_s), "failed": seen.failed}
    if not seen.latencies_s:
        return found
    found |= {
        "requests_per_s": round(len(seen.latencies_s) / window_s, 1),
        "p50_ms": _ms(seen.latencies_s, 0.5),
        "p99_ms": _ms(seen.latencies_s, 0.99),
        "server_cpu_ms": round(1000 * cpu_s / len(seen.latencies_s), 3),
        "server_cores": round(cpu_s / window_s, 2),
        "callers_cores": round(own_s / window_s, 2),
    }
    if seen.engine_s:
        over_s = [whole_s - engine_s for whole_s, engine_s in zip(seen.latencies_s, seen.engine_s, strict=True)]
        found |= {
            "engine_mean_s": round(sum(seen.engine_s) / len(seen.engine_s), 4),
            "overhead_p50_ms": _ms(over_s, 0.5),
            "overhead_p99_ms": _ms(over_s, 0.99),
        }
    return found


def _ms(values: Sequence[float], share: float) -> float:
    return round(1000 * percentile(values, share), 2)
