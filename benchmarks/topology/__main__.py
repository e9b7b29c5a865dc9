"""Run replicas of everything behind nginx, kill and restart them under load, and count what did not hold.

make bench-topology                                every row in full (about an hour on 2 cores)
make bench-topology ROWS="kills rolling" SHARE=0.1   some rows, a tenth of their trials
python -m benchmarks.topology --help
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.reliability.run import Run, save_run
from benchmarks.reliability.trial import Trial, write_trials
from benchmarks.scale.page import write_page
from benchmarks.topology.rows import BY_NAME, Row
from benchmarks.topology.site import missing, running_site
from rlt_client.demo import provenance


def main() -> int:
    """Read the options, run the rows, write; the exit code is 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.topology",
        description=(__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", nargs="*", default=list(BY_NAME), choices=list(BY_NAME), help="default: all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="share of each row's trials, at least one")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trials; topology.json goes beside it")
    options = parser.parse_args()
    if missing():
        sys.stderr.write(f"this needs Debian's packages {' and '.join(missing())}: install them, or put them on PATH\n")
        return 2
    failures = sum(
        _run(BY_NAME[name], seed=options.seed, share=options.share, out=options.out) for name in options.rows
    )
    write_page(options.out.parent)
    return 1 if failures else 0


def _run(row: Row, *, seed: int, share: float, out: Path) -> int:
    count = max(1, math.ceil(row.in_full * share))
    began_s = time.monotonic()
    made = write_trials(_whole(row, count=count, seed=seed), out / f"{row.name}.jsonl")
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    seconds = round(time.monotonic() - began_s, 1)
    save_run(out / "runs.json", row.name, Run(seed=seed, count=count, seconds=seconds, **facts))
    failed = [trial for trial in made if not trial.passed]
    sys.stderr.write(f"{row.name}: {len(made)} trials, {len(failed)} failures\n")
    for trial in failed[:10]:
        sys.stderr.write(f"  {trial.number}: {trial.fault}: {trial.detail}\n")
    return len(failed)


def _whole(row: Row, *, count: int, seed: int) -> Iterator[Trial]:
    """Give all trials; what breaks the run off, such as a server that never comes back, is a failure."""
    number = 0
    with TemporaryDirectory(prefix="rlt-topology-") as folder:
        try:
            with running_site(Path(folder)) as site:
                for trial in row.trials(site, count=count, seed=seed):
                    number += 1
                    yield trial
        except Exception as error:
            detail = f"broken off by {type(error).__name__}: {error}"[:1000]
            yield Trial(row=row.name, number=number, seed=seed, fault="the run", passed=False, detail=detail)


if __name__ == "__main__":
    sys.exit(main())
