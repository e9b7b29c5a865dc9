"""Hold the engine's scores against a plain transformers forward, token by token, and write how far they are apart.

make exact                500 items, temperatures 0.7 and 1, with and without a LoRA student
python -m benchmarks.exact --help
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from benchmarks.adapters import with_random_lora
from benchmarks.exact.figures import TEMPERATURES, TOLERANCE, figures_of
from benchmarks.exact.items import Item, lengths, read_items
from benchmarks.exact.reference import float64_logprobs, load_reference, reference_logprobs
from rlt_client.demo import provenance
from rlt_core.artifacts import adapter_sha256
from rlt_service.engine.factory import create_engine
from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import AdapterRef, Engine, SequenceScoreRequest
from rlt_service.settings import Settings

BASE_MODEL = "builtin:smollm2-135m"
JUDGED_EVERY = 25
"""Items of which one is computed in float64 as well, as is each that is off: it says who of the two is."""
AT_ONCE = 25
"""Sequences of one call, as a trainer sends them."""


def main() -> int:
    """Read the options, run, write; the exit code is 1 where a log-prob is off by more than 1e-4."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    parser.add_argument("--data", type=Path, required=True, help="folder with gsm8k_test, aqua_dev, countdown_train")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl; FOLDER.json goes beside it")
    parser.add_argument("--math", choices=("exact", "fast"), default="exact", help="RLT_SCORING_MATH of the engine")
    parser.add_argument("--count", type=int, default=500, help="items")
    options = parser.parse_args()
    rows, facts = asyncio.run(_compare(options.home, options.data, count=options.count, math=options.math))
    options.out.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (options.out / "rows.jsonl").write_text(text, encoding="utf-8")
    command = f"make exact MATH={options.math} ITEMS={options.count}"
    figures = {**figures_of(rows), **facts, "scoring_math": options.math, "command": command}
    options.out.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    _say(json.dumps(figures, indent=1))
    return 0 if all(found["over_tolerance"] == 0 for found in figures["settings"].values()) else 1


async def _compare(
    home: Path, data: Path, *, count: int, math: Literal["exact", "fast"]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    engine = create_engine(Settings(home=home, base_model=BASE_MODEL, scoring_math=math))
    await engine.start()
    try:
        name = f"{engine.info.name} {engine.info.version}"
        items = read_items(data, codec=engine.codec, count=count)
        model = load_reference(resolve_model(BASE_MODEL, state_folder=home))
        rows = await _rows(engine, items, model, adapter=None, student="base")
        with TemporaryDirectory() as folder:
            wrapped = with_random_lora(model, folder=Path(folder), base_model=BASE_MODEL, seed=0)
            adapter = AdapterRef(version="exact@1", path=Path(folder), sha256=adapter_sha256(Path(folder)))
            rows += await _rows(engine, items, wrapped, adapter=adapter, student="lora")
    finally:
        await engine.stop()
    shortest, longest = lengths(items)
    facts = {
        "items": count,
        "sequence_tokens": {"shortest": shortest, "longest": longest},
        "engine": name,
        "commit": provenance.commit(),
        "date": provenance.date(),
        "machine": provenance.machine(),
    }
    return rows, facts


async def _rows(
    engine: Engine, items: Sequence[Item], model: Any, *, adapter: AdapterRef | None, student: str
) -> list[dict[str, Any]]:
    """Score at every temperature, then compare with the reference; one row an item and temperature."""
    got = {temperature: await _scored(engine, items, temperature, adapter) for temperature in TEMPERATURES}
    rows: list[dict[str, Any]] = []
    for place, item in enumerate(items):
        ids, start = item.sequence.token_ids, item.start
        for temperature, expected in reference_logprobs(model, ids, start=start, temperatures=TEMPERATURES).items():
            ours = got[temperature][place]
            differences = _differences(expected, ours)
            row = {
                "id": item.id,
                "student": student,
                "temperature": temperature,
                "sequence_tokens": len(ids),
                "scored_tokens": len(differences),
                "largest_difference": max(differences),
                "over_tolerance": sum(difference > TOLERANCE for difference in differences),
            }
            if row["over_tolerance"] or place % JUDGED_EVERY == 0:
                exact = float64_logprobs(model, ids, start=start, temperature=temperature)
                row["from_float64"] = {
                    "ours": max(_differences(exact, ours)),
                    "transformers": max(_differences(exact, expected)),
                }
            rows.append(row)
        if (place + 1) % AT_ONCE == 0:
            _say(f"{student}: {place + 1} of {len(items)} compared")
    return rows


async def _scored(
    engine: Engine, items: Sequence[Item], temperature: float, adapter: AdapterRef | None
) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    for first in range(0, len(items), AT_ONCE):
        requests = [
            SequenceScoreRequest(
                token_ids=item.sequence.token_ids, start=item.start, temperature=temperature, adapter=adapter
            )
            for item in items[first : first + AT_ONCE]
        ]
        found += [result.logprobs for result in await engine.score(requests)]
        _say(f"temperature {temperature}: {len(found)} of {len(items)} scored")
    return found


def _differences(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [abs(a - b) for a, b in zip(left, right, strict=True)]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
