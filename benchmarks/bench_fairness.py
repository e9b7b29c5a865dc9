"""How many sequences should the engine generate at a time? Throughput of a bulk call, and a single call's latency.

For each value of RLT_MAX_RUNNING, on the real engine in this process: single explanations alone; a bulk call of 64, its
tokens/s; single explanations one after the other beside a bulk call of 256. Rows go to docs/results/fairness.json, from
which `summary` there is computed; rows of values that are not measured anew stay.

    RLT_HOME=.rlt .venv/bin/python benchmarks/bench_fairness.py --max-running 4 8 16 32 64
"""

import argparse
import asyncio
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlt_service.engine.factory import create_engine
from rlt_service.engine.gate import one_flow
from rlt_service.engine.protocol import Engine, GenerateRequest
from rlt_service.settings import Settings

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "fairness.json"
MAX_TOKENS = 64
BULK = 64
BESIDE = 256
SINGLES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured call."""

    max_running: int
    phase: str
    """`alone`, `bulk` or `beside` (a single one while a bulk call runs)."""
    seconds: float
    tokens: int
    """Tokens that were generated."""
    load: float
    """Processes that wanted a core, over the last minute: what else ran on the machine is in it."""


def request_of(engine: Engine, number: int) -> GenerateRequest:
    """Ask for one explanation of a question of its own: about 150 tokens of prompt, the instruction shared."""
    question = (
        f"Carla has {number} coins. She finds {number % 17 + 2} more on the way to the market, buys a loaf of bread "
        f"for {number % 7 + 1} coins, and gives half of what is left to her brother. How many coins has she now?"
    )
    codec = engine.codec
    return GenerateRequest(
        prompt_token_ids=codec.teacher_sequence(question=question, solution="The answer is written below.").token_ids,
        adapter=None,
        n=1,
        temperature=0.7,
        top_p=1.0,
        max_tokens=MAX_TOKENS,
        seed=None,
        stop_text=codec.format.explanation_close,
    )


async def call(engine: Engine, numbers: Sequence[int]) -> int:
    """Generate as one call would; gives the number of tokens."""
    with one_flow():
        results = await asyncio.gather(*[engine.generate(request_of(engine, number)) for number in numbers])
    return sum(len(completion.token_ids) for result in results for completion in result.completions)


async def timed(engine: Engine, numbers: Sequence[int], *, max_running: int, phase: str) -> Row:
    """Measure one call."""
    began = time.monotonic()
    tokens = await call(engine, numbers)
    return Row(
        max_running=max_running, phase=phase, seconds=time.monotonic() - began, tokens=tokens, load=os.getloadavg()[0]
    )


async def measure(max_running: int) -> list[Row]:
    """Take all rows of one setting, on an engine of its own."""
    engine = create_engine(Settings(engine="vllm", max_running=max_running))
    await engine.start()
    try:
        await call(engine, range(4))  # what is compiled or allocated at first use
        rows = [
            await timed(engine, [1000 + number], max_running=max_running, phase="alone") for number in range(SINGLES)
        ]
        rows.append(await timed(engine, range(2000, 2000 + BULK), max_running=max_running, phase="bulk"))
        bulk = asyncio.create_task(call(engine, range(3000, 3000 + BESIDE)))
        await asyncio.sleep(rows[0].seconds)  # the bulk call is under way
        for number in range(SINGLES):
            row = await timed(engine, [4000 + number], max_running=max_running, phase="beside")
            if bulk.done():
                break
            rows.append(row)
        bulk.cancel()
        await asyncio.gather(bulk, return_exceptions=True)
        return rows
    finally:
        await engine.stop()


def quantile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Sum up each setting; `p95_ratio` is a single call's p95 beside a bulk call over its p95 alone."""
    table: list[dict[str, Any]] = []
    for max_running in sorted({row.max_running for row in rows}):
        phases = {
            phase: [row for row in rows if (row.max_running, row.phase) == (max_running, phase)]
            for phase in ("alone", "bulk", "beside")
        }
        alone, beside = ([row.seconds for row in phases[phase]] for phase in ("alone", "beside"))
        table.append(
            {
                "max_running": max_running,
                "bulk_tokens_per_s": round(
                    sum(r.tokens for r in phases["bulk"]) / sum(r.seconds for r in phases["bulk"]), 1
                ),
                "alone_p50_s": round(quantile(alone, 0.5), 2),
                "alone_p95_s": round(quantile(alone, 0.95), 2),
                "beside_p50_s": round(quantile(beside, 0.5), 2),
                "beside_p95_s": round(quantile(beside, 0.95), 2),
                "beside_calls": len(beside),
                "p95_ratio": round(quantile(beside, 0.95) / quantile(alone, 0.95), 2),
            }
        )
    return table


def store(new: Sequence[Row], *, path: Path) -> None:
    """Put rows in the place of older ones of the same setting."""
    measured = {row.max_running for row in new}
    old = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    rows = [Row(**row) for row in old if row["max_running"] not in measured] + list(new)
    found = {
        "commit": subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, no accelerator",
        "command": " ".join(["python", *sys.argv]),
        "summary": summary_of(rows),
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure each setting in turn; write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-running", type=int, nargs="+", required=True)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    for max_running in options.max_running:
        store(asyncio.run(measure(max_running)), path=options.out)


if __name__ == "__main__":
    main()
