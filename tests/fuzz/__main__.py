"""Fuzz the whole contract and write what came of it: `make fuzz`, EXAMPLES calls (10,000).

One line an operation goes to OUT/fuzz.jsonl, the run's seed, size, commit, date and machine to OUT/fuzz.json.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.reliability.run import Run, save_run
from benchmarks.reliability.trial import Trial, write_trials
from rlt_client.demo import provenance
from tests.fuzz.contract import Records
from tests.fuzz.rounds import calls_of, fuzz_in_rounds

ROW = "fuzz"
EACH = 50


def main() -> int:
    """Fuzz, write, print; the exit code is 1 where an answer was not as the contract says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--examples", type=int, default=10_000, help="calls in all, at least 50 of an operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # of the server; what is wrong stands in its answers
    began_s = time.monotonic()
    with TemporaryDirectory(prefix="rlt-fuzz-") as folder:
        records = fuzz_in_rounds(
            Path(folder),
            seed=options.seed,
            examples=EACH,
            total=options.examples,
            told=lambda calls: print(f"{calls:,} calls", file=sys.stderr, flush=True),  # noqa: T201 - for people
        )
    run = Run(
        seed=options.seed,
        count=calls_of(records),
        seconds=round(time.monotonic() - began_s, 1),
        commit=provenance.commit(),
        date=provenance.date(),
        machine=provenance.machine(),
    )
    trials = write_trials(trials_of(records, seed=options.seed), options.out / f"{ROW}.jsonl")
    save_run(options.out / f"{ROW}.json", ROW, run)
    sys.stdout.write(summary_of(trials, run))
    return 0 if all(trial.passed for trial in trials) else 1


def trials_of(records: Records, *, seed: int) -> Iterator[Trial]:
    """Give a trial an operation: how many calls, answers by status, what was wrong."""
    for number, (label, record) in enumerate(sorted(records.items())):
        times = sorted(record.seconds) or [0.0]
        yield Trial(
            row=ROW,
            number=number,
            seed=seed,
            fault=label,
            passed=not record.failures,
            seconds=round(times[-1], 4),
            detail="; ".join(f"{title}: {told}" for title, told in record.failures.items()),
            figures={
                "calls": record.calls,
                "linked": record.linked,
                "median_s": round(times[len(times) // 2], 4),
                **{str(status): count for status, count in sorted(record.statuses.items())},
            },
        )


def summary_of(trials: list[Trial], run: Run) -> str:
    """Say it in a few lines."""
    failed = [trial for trial in trials if not trial.passed]
    lines = [
        f"{len(trials)} operations, {run.count:,} calls, {len(failed)} operations with findings",
        f"seed {run.seed}, commit {run.commit}, {run.date}, {run.seconds} s, {run.machine}",
        *(f"{trial.fault}: {trial.detail}" for trial in failed),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
