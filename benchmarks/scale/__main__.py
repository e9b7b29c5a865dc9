"""Measure how far one installation goes on this machine, without a model: replicas, queue, event streams.

make bench-scale                              what is missing of all rows (25 minutes from nothing)
make bench-scale ROWS=queue SHARE=0.1         a tenth of the size and time of one row, which no figure is made of
python -m benchmarks.scale --help

Each cell is kept as soon as it is measured, and the same command goes on from there.
"""

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.scale import cells
from benchmarks.scale.listeners import TooFewFilesError
from benchmarks.scale.page import write_page
from benchmarks.scale.rows import BY_NAME, Row
from rlt_client.demo import provenance


def main() -> int:
    """Read the options, measure what is missing, write figures and tables; 1 where a row could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=(__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", nargs="*", default=list(BY_NAME), choices=list(BY_NAME), help="default: all of them")
    parser.add_argument("--share", type=float, default=1.0, help="share of each cell's size and time; figures need 1")
    parser.add_argument("--again", action="store_true", help="measure also what was measured before")
    parser.add_argument("--out", type=Path, required=True, help="folder for the cells; scale.json goes beside it")
    options = parser.parse_args()
    if not 0.0 < options.share <= 1.0:
        parser.error(f"--share is {options.share}: give more than 0, at most 1")
    failed = 0
    for name in options.rows:
        try:
            run(BY_NAME[name], share=options.share, out=options.out, again=options.again)
        except (FileNotFoundError, TooFewFilesError) as error:
            failed += 1
            sys.stderr.write(f"{name}: {error}\n")
        write_page(options.out.parent)
    return 1 if failed else 0


def run(row: Row, *, share: float, out: Path, again: bool) -> None:
    """Measure the cells of a row that are missing, and keep each at once."""
    there = {} if again else cells.read(out, row.name)
    pending = cells.missing(row.cells, there, share=share)
    if not pending:
        sys.stderr.write(f"{row.name}: all {len(row.cells)} cells are there; --again measures them anew\n")
        return
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    began_s = time.monotonic()
    with TemporaryDirectory(prefix="rlt-scale-") as folder:
        for name, figures in row.measure(pending, share=share, folder=Path(folder)):
            seconds = round(time.monotonic() - began_s, 1)
            cells.add(cells.Cell(row=row.name, name=name, share=share, seconds=seconds, figures=figures, **facts), out)
            sys.stderr.write(f"{row.name} {name}: {figures}\n")
            began_s = time.monotonic()


if __name__ == "__main__":
    sys.exit(main())
