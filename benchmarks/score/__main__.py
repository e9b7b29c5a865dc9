"""Compare ways to score, interleaved in one run; rows go to a file, the table is made of the rows.

make bench-score          everything, about 40 minutes on 2 cores
python -m benchmarks.score --help
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from benchmarks.score.contenders import BASE_MODEL, Contender
from benchmarks.score.flops import matrix_peak, model_size, needed_flops
from benchmarks.score.processes import Fleet, Order
from benchmarks.score.workloads import WORKLOADS, Workload, make_groups
from rlt_client.demo import provenance
from rlt_service.engine.machine import physical_cores
from rlt_service.engine.models import resolve_model
from rlt_tokens import load_codec

CONTENDERS: tuple[Contender, ...] = get_args(Contender)
MEMORY_SIZES = (1, 8, 64, 256)
"""Explanations of a request whose memory is measured."""


def main() -> None:
    """Read the options, run, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl and run.json")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each workload by each contender")
    parser.add_argument("--workloads", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    _say("starting (each engine takes up to a minute)")
    workloads = [WORKLOADS[name] for name in options.workloads]
    with _fleet() as fleet:
        fleet.start_for_memory(options.home, say=_say_what_starts)
        _write_lines(options.out / "memory.jsonl", _memory_rows(fleet))
    with _fleet() as fleet:
        fleet.start_all(options.home, say=_say_what_starts)
        _write_lines(options.out / "rows.jsonl", _rows(fleet, workloads, repeats=options.repeats))
    run = _run_facts(options.home, repeats=options.repeats)
    (options.out / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    _say(f"rows are in {options.out}; the table: python -m benchmarks.score.table {options.out}")


@contextmanager
def _fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    try:
        yield fleet
    finally:
        fleet.stop()


def _say_what_starts(what: str) -> None:
    _say(f"  {what}")


def _rows(fleet: Fleet, workloads: list[Workload], *, repeats: int) -> Iterator[dict[str, Any]]:
    """Run each workload `repeats` times; the contenders take turns, each time another one first.

    Repeat -1, of the first workload alone, warms up and is not kept.
    """
    for workload in workloads:
        for repeat in range(-1 if workload is workloads[0] else 0, repeats):
            shift = repeat % len(CONTENDERS)
            for contender in (*CONTENDERS[shift:], *CONTENDERS[:shift]):
                # Not the same texts for our three: what one has cached must not help the next.
                seed = 1000 * (repeat + 1) + CONTENDERS.index(contender)
                answer = fleet.run(Order(contender=contender, workload=workload, seed=seed))
                row = {"workload": workload.name, "repeat": repeat, "contender": contender, **asdict(answer.timed)}
                _say(
                    f"{workload.name} {repeat + 1}/{repeats} {contender}: {row['tokens'] / row['seconds']:.0f} tokens/s"
                )
                if repeat >= 0:
                    yield row


def _memory_rows(fleet: Fleet) -> Iterator[dict[str, Any]]:
    for contender in ("ours_in_process", "vllm_plain"):
        for size in MEMORY_SIZES:
            workload = Workload(
                name=f"memory-{size}",
                questions=1,
                explanations=size,
                question_tokens=100,
                explanation_tokens=60,
                solution_tokens=20,
            )
            answer = fleet.run(Order(contender=contender, workload=workload, seed=size))
            _say(f"memory {contender}, {size} explanations: {answer.peak_bytes / 2**20:.0f} MiB at most")
            yield {"contender": contender, "explanations": size, "peak_bytes": answer.peak_bytes}


def _run_facts(home: Path, *, repeats: int) -> dict[str, Any]:
    folder = resolve_model(BASE_MODEL, state_folder=home)
    codec, size = load_codec(folder), model_size(folder)
    flops = {}
    for workload in WORKLOADS.values():
        groups = make_groups(workload, codec=codec, seed=0)
        items = [item for group in groups for item in group.items]
        flops[workload.name] = {
            name: needed_flops(items, size=size, shared_prefix=workload.questions == 1, rss_only=rss_only)
            / sum(len(item.token_ids) for item in items)
            for name, rss_only in (("full", False), ("rss_only", True))
        }
    return {
        "commit": provenance.commit(),
        "date": provenance.date(),
        "machine": provenance.machine(),
        "command": "make bench-score",
        "repeats": repeats,
        "needed_flops_per_token": flops,
        "matrix_peak_flops": matrix_peak(threads=len(physical_cores(frozenset(_affinity())))),
    }


def _affinity() -> set[int]:
    import os

    return os.sched_getaffinity(0)


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write each row as it comes: a run takes long."""
    with path.open("w", encoding="utf-8", buffering=1) as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
