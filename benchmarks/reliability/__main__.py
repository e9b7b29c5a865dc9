"""Harm real processes on purpose, count what did not hold, and write docs/reliability.md.

make chaos                                    every row in full (three hours on 2 cores, one of them the row chaos)
make chaos ROWS="cancel broker" SHARE=0.1     some rows, a tenth of their trials
python -m benchmarks.reliability --help
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import Progress

from benchmarks.reliability.page import write_page
from benchmarks.reliability.rows import BY_NAME, Row
from benchmarks.reliability.run import Run, save_run
from benchmarks.reliability.trial import Trial, write_trials
from rlt_client.demo import provenance


def main() -> int:
    """Read the options, run the rows, write; the exit code is 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability",
        description=(__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", nargs="*", default=list(BY_NAME), choices=list(BY_NAME), help="default: all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="share of each row's trials, at least one")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the trials; reliability.json goes beside it"
    )
    options = parser.parse_args()
    failures = 0
    for name in options.rows:
        failures += _run(BY_NAME[name], seed=options.seed, share=options.share, out=options.out)
    write_page(options.out.parent)
    return 1 if failures else 0


def _run(row: Row, *, seed: int, share: float, out: Path) -> int:
    count = max(1, math.ceil(row.in_full * share))
    began_s = time.monotonic()
    with TemporaryDirectory(prefix="rlt-chaos-") as folder:
        trials = row.trials(count=count, seed=seed, folder=Path(folder))
        whole = _whole(_shown(trials, row, count=count), row, seed=seed)
        made = write_trials(whole, out / f"{row.name}.jsonl")
    failed = [trial for trial in made if not trial.passed]
    save_run(
        out / "runs.json",
        row.name,
        Run(
            seed=seed,
            count=count,
            seconds=round(time.monotonic() - began_s, 1),
            commit=provenance.commit(),
            date=provenance.date(),
            machine=provenance.machine(),
            promise=row.promise,
            real_parts=row.real_parts,
            note=row.note,
        ),
    )
    sys.stderr.write(f"{row.name}: {len(made)} trials, {len(failed)} failures\n")
    for trial in failed[:10]:
        sys.stderr.write(f"  {trial.number}: {trial.fault}: {trial.detail}\n")
    return len(failed)


def _whole(trials: Iterator[Trial], row: Row, *, seed: int) -> Iterator[Trial]:
    """Give all trials under the row's name; what breaks the run off, such as a job that never ends, is a failure."""
    number = 0
    try:
        for trial in trials:
            number += 1
            yield replace(trial, row=row.name)
    except Exception as error:
        detail = f"broken off by {type(error).__name__}: {error}"[:1000]
        yield Trial(row=row.name, number=number, seed=seed, fault="the run", passed=False, detail=detail)


def _shown(trials: Iterator[Trial], row: Row, *, count: int) -> Iterator[Trial]:
    with Progress(transient=True) as progress:
        task = progress.add_task(row.name, total=count)
        for trial in trials:
            progress.advance(task)
            yield trial


if __name__ == "__main__":
    sys.exit(main())
