"""Compare ways to score, interleaved in one run; rows go to a file, the table is made of the rows.

In a repeat all score the same texts, and what they find is held against what our engine finds (`checks.py`).

make bench-score          everything, about 45 minutes on 2 cores
python -m benchmarks.score --help
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.score.checks import COMPARED, all_agree, largest_difference
from benchmarks.score.contenders import BASE_MODEL, CONTENDERS, Contender, Timed
from benchmarks.score.flops import matrix_peak, model_size, needed_flops
from benchmarks.score.processes import Fleet, Order
from benchmarks.score.workloads import WORKLOADS, Item, Workload, make_groups
from rlt_client.demo import provenance
from rlt_service.engine.machine import physical_cores
from rlt_service.engine.models import resolve_model
from rlt_tokens import load_codec

MEMORY_SIZES = (1, 8, 64, 256)
"""Explanations of a request whose memory is measured."""


def main() -> int:
    """Read the options, run, write; the exit code is 1 where a contender found something else than ours."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl, checks.jsonl and run.json")
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
        found = list(_repeats(fleet, workloads, home=options.home, repeats=options.repeats, folder=options.out))
    run = _run_facts(options.home, repeats=options.repeats)
    (options.out / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    _say(f"rows are in {options.out}; the table: python -m benchmarks.score.table {options.out}")
    return 0 if all_agree(found) else 1


@contextmanager
def _fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    try:
        yield fleet
    finally:
        fleet.stop()


def _say_what_starts(what: str) -> None:
    _say(f"  {what}")


def _repeats(
    fleet: Fleet, workloads: list[Workload], *, home: Path, repeats: int, folder: Path
) -> Iterator[dict[str, Any]]:
    """Run each workload `repeats` times, write rows as they come, and give those of the checks.

    Repeat -1, of the first workload alone, warms up and is not kept.
    """
    codec = load_codec(resolve_model(BASE_MODEL, state_folder=home))
    with _lines_of(folder / "rows.jsonl") as write_row, _lines_of(folder / "checks.jsonl") as write_check:
        for workload in workloads:
            for repeat in range(-1 if workload is workloads[0] else 0, repeats):
                seed = repeat + 1
                found = _taking_turns(fleet, workload, repeat=repeat, seed=seed)
                if repeat < 0:
                    continue
                for contender, timed in found.items():
                    row = asdict(timed)
                    del row["found"]
                    write_row({"workload": workload.name, "repeat": repeat, "contender": contender, **row})
                fleet.forget()
                at_1 = fleet.run(Order(contender="ours_at_1", workload=workload, seed=seed)).timed
                items = [item for group in make_groups(workload, codec=codec, seed=seed) for item in group.items]
                for check in _checks(found, at_1=at_1, items=items):
                    row = {"workload": workload.name, "repeat": repeat, **check}
                    write_check(row)
                    yield row


def _taking_turns(fleet: Fleet, workload: Workload, *, repeat: int, seed: int) -> dict[Contender, Timed]:
    """Have all contenders score the same texts, each time another one first; none finds them in a cache."""
    shift = repeat % len(CONTENDERS)
    found: dict[Contender, Timed] = {}
    for contender in (*CONTENDERS[shift:], *CONTENDERS[:shift]):
        fleet.forget()
        timed = fleet.run(Order(contender=contender, workload=workload, seed=seed)).timed
        found[contender] = timed
        _say(f"{workload.name}, repeat {repeat}, {contender}: {timed.tokens / timed.seconds:.0f} tokens/s")
    return found


def _checks(found: Mapping[Contender, Timed], *, at_1: Timed, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """Hold what each contender found against our engine on the same texts."""
    for contender, compared in COMPARED.items():
        ours = at_1 if compared == "tokens at 1" else found["ours_in_process"]
        largest = largest_difference(contender, found[contender].found, ours=ours.found, items=items)
        _say(f"  {contender}, {compared}: at most {largest:.1e} from ours")
        yield {
            "contender": contender,
            "compared": compared,
            "sequences": len(found[contender].found),
            "largest_difference": largest,
        }


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
    with _lines_of(path) as write:
        for row in rows:
            write(row)


@contextmanager
def _lines_of(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give what writes a row as it comes: a run takes long."""
    with path.open("w", encoding="utf-8", buffering=1) as file:

        def write(row: dict[str, Any]) -> None:
            file.write(json.dumps(row) + "\n")

        yield write


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
