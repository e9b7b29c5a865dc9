"""Own rows that other commands have measured: their trials are read from the results that are committed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.reliability.figures import row_of
from benchmarks.reliability.run import read_runs
from benchmarks.reliability.trial import Trial, read_trials

SLOWER = 2.0
"""Largest ratio of the 99th percentiles of requests, during swaps and before."""
ROLLBACK_S = 5.0


def committed_rows(results: Path) -> list[dict[str, Any]]:
    """Summarise what lies in `results` (docs/results); a part that is not there makes no row."""
    rows: list[dict[str, Any]] = []
    if (results / "reliability" / "fuzz.json").exists():
        rows.append(_fuzz(results / "reliability"))
    for path in (results / "swap.json", results / "swap-full.json"):
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            rows += [_swap(results / "swap", name, found) for name in REAL_PARTS if name in found]
    return rows


def _fuzz(folder: Path) -> dict[str, Any]:
    run = read_runs(folder / "fuzz.json")["fuzz"]
    trials = read_trials(folder / "fuzz.jsonl")
    row = row_of(
        trials,
        name="fuzz",
        promise="calls drawn from the OpenAPI file: no 5xx, no answer off the schema (a trial is an operation)",
        real_parts="the whole app in process, on the fake engine and a bell that rings nowhere",
        note=f"{run.count:,} calls, at least 50 an operation.",
    )
    return row | {
        "command": "make fuzz",
        "seed": run.seed,
        "commit": run.commit,
        "date": run.date,
        "machine": run.machine,
        "duration_s": run.seconds,
    }


REAL_PARTS = {
    "fake": "the server is a process, on the fake engine; adapters are real files",
    "real": "the server is a process, its engine vLLM on CPU with SmolLM2-135M; two real adapters",
    "full": "the server is a process with two engines, vLLM on CPU with SmolLM2-135M: an adapter on the base's, a "
    "fully trained version on its own",
}

FEWER = " 8 clients, not 64: with 8 an answer of vLLM on two cores takes seconds; the fake engine's row has 64."


def _swap(folder: Path, name: str, found: dict[str, Any]) -> dict[str, Any]:
    part = found[name]
    row = row_of(
        list(_requests(folder / f"{name}-requests.jsonl", part)),
        name=f"hot-swap-{name}",
        promise=f"{part['clients']} clients through {part['swaps']} swaps: no request fails, no answer is of two "
        "versions (a trial is a request), p99 at most twice that before, rollback within 5 s",
        real_parts=REAL_PARTS[name],
        note=f"p99 {part['p99_ratio']:.2f} times that before, rollback {part['rollback_p99_s']:.1f} s at p99."
        f"{'' if name == 'fake' else FEWER}",
    )
    return row | {
        "command": found["command"],
        "seed": None,
        "commit": found["commit"],
        "date": found["date"],
        "machine": found["machine"],
        "duration_s": 0.0,
    }


def _requests(path: Path, part: dict[str, Any]) -> Iterator[Trial]:
    number = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        request = json.loads(line)
        if request["phase"] == "swaps":
            passed = request["status"] == 200 and not request["mixed"]
            yield Trial(row="hot-swap", number=number, seed=0, fault="swap", passed=passed)
            number += 1
    for fault, kept in (
        ("p99", part["p99_ratio"] <= SLOWER),
        ("rollback", part["rollback_p99_s"] <= ROLLBACK_S),
    ):
        yield Trial(row="hot-swap", number=number, seed=0, fault=fault, passed=kept)
        number += 1
