"""How many sequences should the engine generate at a time? A bulk call's throughput, and a single call beside it.

On the real engine, in this process. `--running K`: all that is sent is let in, and the bulk call sends K sequences at a
time. `--gate`: the gate's own rule with its default, which is what users get. Each measures single explanations alone,
a bulk call of 64 (tokens/s), and single ones, one after the other, beside a bulk call of 256, and at the gate also
beside 256 sequences of 400 tokens that are scored, again and again. Rows go to
docs/results/fairness.json, whose `summary` is computed from them; rows of what is not measured anew stay.

    RLT_HOME=.rlt .venv/bin/python benchmarks/bench_fairness.py --running 4 8 16 32 64 --gate
"""

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlt_client.demo import provenance
from rlt_service.engine.factory import create_engine
from rlt_service.engine.gate import one_flow
from rlt_service.engine.protocol import Engine, GenerateRequest, SequenceScoreRequest
from rlt_service.settings import Settings

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "fairness.json"
MAX_TOKENS = 64
SCORED_TOKENS = 400
BULK = 64
BESIDE = 256
SINGLES = 8
SINGLES_AT_THE_GATE = 20
"""More, since the first ones come while the bulk call still has more than its share."""
ALL = 4096
"""More than any call here asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured call."""

    running: int | None
    """Sequences of a bulk call that ran at a time; null: as many as the gate let in."""
    phase: str
    """`alone`, `bulk` or `beside` (a single one while a bulk call runs), `beside_scores` (while a bulk is scored)."""
    seconds: float
    tokens: int
    """Tokens that were generated."""
    load: float
    """Processes that wanted a core, over the last minute: what else ran on the machine is in it."""
    commit: str


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


def scored_of(engine: Engine, number: int) -> SequenceScoreRequest:
    """Ask for the scores of the second half of 400 tokens that nothing else begins with."""
    text = f"Case {number}. " + " ".join(f"{number * n % 997} plus {n} is {number * n % 997 + n}." for n in range(100))
    ids = engine.codec.encode_text(text)[:SCORED_TOKENS]
    return SequenceScoreRequest(token_ids=ids, start=SCORED_TOKENS // 2, temperature=1.0, adapter=None)


async def call(engine: Engine, numbers: Sequence[int], *, running: int | None = None) -> int:
    """Generate as one call would, `running` sequences at a time; gives the number of tokens."""
    room = asyncio.Semaphore(running or ALL)

    async def one(number: int) -> int:
        async with room:
            result = await engine.generate(request_of(engine, number))
        return sum(len(completion.token_ids) for completion in result.completions)

    with one_flow():
        return sum(await asyncio.gather(*[one(number) for number in numbers]))


async def timed(engine: Engine, numbers: Sequence[int], *, running: int | None, phase: str) -> Row:
    """Measure one call."""
    began = time.monotonic()
    tokens = await call(engine, numbers, running=running)
    seconds = time.monotonic() - began
    return Row(
        running=running,
        phase=phase,
        seconds=seconds,
        tokens=tokens,
        load=os.getloadavg()[0],
        commit=provenance.commit(),
    )


async def measure(engine: Engine, running: int | None) -> list[Row]:
    """Take all rows of one way to limit a bulk call."""
    first = 10_000 * (running or 0)  # no prompt is in the cache already
    singles = SINGLES if running else SINGLES_AT_THE_GATE
    rows = [await timed(engine, [first + 100 + n], running=running, phase="alone") for n in range(singles)]
    rows.append(await timed(engine, range(first + 1000, first + 1000 + BULK), running=running, phase="bulk"))
    bulk = asyncio.create_task(call(engine, range(first + 2000, first + 2000 + BESIDE), running=running))
    await asyncio.sleep(rows[0].seconds)  # the bulk call is under way
    for number in range(singles):
        row = await timed(engine, [first + 3000 + number], running=running, phase="beside")
        if bulk.done():
            break
        rows.append(row)
    await ended(bulk)
    if running is None:
        rows += await beside_scores(engine)
    return rows


async def beside_scores(engine: Engine) -> list[Row]:
    """Take single calls while another caller has much scored."""

    async def scores() -> None:
        with one_flow():
            while True:
                await engine.score([scored_of(engine, number) for number in range(BESIDE)])

    bulk = asyncio.create_task(scores())
    await asyncio.sleep(5.0)  # it is under way
    rows = [
        await timed(engine, [5000 + number], running=None, phase="beside_scores")
        for number in range(SINGLES_AT_THE_GATE)
    ]
    await ended(bulk)
    return rows


async def ended(task: asyncio.Task[Any]) -> None:
    """End a bulk call early; one that failed by itself raises what it failed with."""
    if task.done():
        task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def run(runnings: Sequence[int | None], *, path: Path) -> None:
    """Measure each in turn and write after each: with an open gate, or, for None, with the default one."""
    for open_gate in (True, False):
        wanted = [running for running in runnings if (running is not None) == open_gate]
        if not wanted:
            continue
        engine = create_engine(Settings(engine="vllm", max_running=ALL if open_gate else None))
        await engine.start()
        try:
            await call(engine, range(8))  # what is allocated at first use
            for running in wanted:
                store(await measure(engine, running), path=path)
        finally:
            await engine.stop()


def quantile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Sum up each way: ratios of a single call's time beside a bulk call over its time alone.

    `p95_over_p50` is the strictest: few calls alone have a p95 that says more about the machine than about them.
    """
    table: list[dict[str, Any]] = []
    for running in sorted({row.running for row in rows}, key=lambda value: value or ALL):
        own = [row for row in rows if row.running == running]
        alone, beside = ([row.seconds for row in own if row.phase == phase] for phase in ("alone", "beside"))
        bulk = [row for row in own if row.phase == "bulk"]
        scores = [row.seconds for row in own if row.phase == "beside_scores"]
        table.append(
            {
                "running": running,
                "bulk_tokens_per_s": round(sum(row.tokens for row in bulk) / sum(row.seconds for row in bulk), 1),
                "alone_p50_s": round(quantile(alone, 0.5), 2),
                "alone_p95_s": round(quantile(alone, 0.95), 2),
                "beside_p50_s": round(quantile(beside, 0.5), 2),
                "beside_p95_s": round(quantile(beside, 0.95), 2),
                "beside_max_s": round(max(beside), 2),
                "p50_ratio": round(quantile(beside, 0.5) / quantile(alone, 0.5), 2),
                "p95_ratio": round(quantile(beside, 0.95) / quantile(alone, 0.95), 2),
                "p95_over_p50": round(quantile(beside, 0.95) / quantile(alone, 0.5), 2),
                **(_beside_scores(alone, scores) if scores else {}),
            }
        )
    return table


def _beside_scores(alone: Sequence[float], beside: Sequence[float]) -> dict[str, float]:
    return {
        "beside_scores_p50_s": round(quantile(beside, 0.5), 2),
        "beside_scores_p95_s": round(quantile(beside, 0.95), 2),
        "scores_p50_ratio": round(quantile(beside, 0.5) / quantile(alone, 0.5), 2),
        "scores_p95_ratio": round(quantile(beside, 0.95) / quantile(alone, 0.95), 2),
    }


def table_of(summary: Sequence[dict[str, Any]]) -> str:
    """Write the summary as docs/serving-explain.md shows it."""
    scores = any("scores_p95_ratio" in found for found in summary)
    lines = [
        "| a bulk call's sequences at a time | tokens/s alone | a single call alone, p50 | beside it, p50 / p95 / max "
        "| p50 beside over alone | p95 beside over alone |" + " beside a bulk of scores, p50 / p95 |" * scores,
        "|---|---|---|---|---|---|" + "---|" * scores,
    ]
    for found in summary:
        beside = " / ".join(f"{found[f'beside_{name}_s']:.1f}" for name in ("p50", "p95", "max"))
        lines.append(
            f"| {found['running'] or 'as the gate lets in'} | {found['bulk_tokens_per_s']:.0f} "
            f"| {found['alone_p50_s']:.1f} s | {beside} s | {found['p50_ratio']:.1f} | {found['p95_ratio']:.1f} |"
            + f" {_scores_of(found)} |"
            * scores
        )
    return "\n".join(lines)


def _scores_of(found: Mapping[str, Any]) -> str:
    if "scores_p95_ratio" not in found:
        return ""
    p50, p95 = found["beside_scores_p50_s"], found["beside_scores_p95_s"]
    return f"{p50:.1f} / {p95:.1f} s ({found['scores_p50_ratio']:.1f}, {found['scores_p95_ratio']:.1f} times)"


def store(new: Sequence[Row], *, path: Path) -> None:
    """Put rows in the place of older ones of the same kind."""
    measured = {row.running for row in new}
    old = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    rows = [Row(**row) for row in old if row["running"] not in measured] + list(new)
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    found = {
        **facts,
        "command": " ".join(["python", *sys.argv]),
        "summary": summary_of(rows),
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--running", type=int, nargs="*", default=[], help="sequences of the bulk call at a time")
    parser.add_argument("--gate", action="store_true", help="as many as the gate lets in")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    asyncio.run(run([*options.running, *([None] if options.gate else [])], path=options.out))


if __name__ == "__main__":
    main()
