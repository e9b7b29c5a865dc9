"""Prove guards: take each one out of a copy of the code and see that its fault tests fail, which pass with it.

make guards                          all of them (minutes)
make guards ONLY="fence outbox"      some
python -m benchmarks.reliability.guards --help
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import Progress

from benchmarks.reliability.guard import Guard
from benchmarks.reliability.guards_page import GuardRow, write_rows
from benchmarks.reliability.guards_table import BY_NAME
from benchmarks.reliability.mutants import Copy, Outcome
from rlt_client.demo import provenance


def main() -> int:
    """Read the options, try the guards, write the record; the exit code is 1 where one is not proved."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability.guards",
        description=(__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="*", default=list(BY_NAME), choices=list(BY_NAME), help="default: all of them")
    options = parser.parse_args()
    guards = [BY_NAME[name] for name in options.only]
    rows: list[GuardRow] = []
    with TemporaryDirectory(prefix="rlt-guards-") as folder, Progress(transient=True) as progress:
        task = progress.add_task("all tests with their guards", total=len(guards) + 1)
        for guard, found in tried(guards, folder=Path(folder)):
            rows += found
            progress.console.print(f"{guard.name}: {_verdict(found)}", highlight=False, markup=False, soft_wrap=True)
            progress.update(task, advance=1, description=guard.name)
    write_rows(rows)
    unproved = [row for row in rows if not row.is_proof]
    sys.stderr.write(f"{len(guards)} guards, {len(rows)} tests, {len(unproved)} that prove nothing\n")
    return 1 if unproved else 0


def tried(guards: Sequence[Guard], *, folder: Path) -> Iterator[tuple[Guard, list[GuardRow]]]:
    """Run all tests once as they are, then those of each guard without it."""
    copy = Copy(folder)
    copy.fill()
    before = copy.run(list(dict.fromkeys(test for guard in guards for test in guard.tests)))
    for guard in guards:
        with copy.without(guard):
            after = copy.run(list(guard.tests))
        yield guard, rows_of(guard, before=before, after=after)


def rows_of(guard: Guard, *, before: Mapping[str, Outcome], after: Mapping[str, Outcome]) -> list[GuardRow]:
    """Judge each test of a guard: it must fail for its own reason, no import and no fixture may break instead."""
    commit, date, machine = provenance.commit(), provenance.date(), provenance.machine()
    rows: list[GuardRow] = []
    for test, words in guard.tests.items():
        had, seen = before[test], after[test]
        passes = had.ending == "passed"
        fails = seen.ending == "hung" or (seen.ending == "failed" and words in seen.how)
        rows.append(
            GuardRow(
                guard=guard.name,
                section=guard.section,
                promise=guard.promise,
                file=guard.file,
                mutation=guard.mutation,
                test=test,
                passes_with_guard=passes,
                fails_without=fails,
                how=said(seen) if passes else f"with the guard: {said(had)}",
                seconds=seen.seconds,
                commit=commit,
                date=date,
                machine=machine,
            )
        )
    return rows


def said(outcome: Outcome) -> str:
    """Give a failure's words, and of anything else also what it was."""
    return outcome.how if outcome.ending == "failed" else f"{outcome.ending}: {outcome.how}".removesuffix(": ")


def _verdict(rows: Sequence[GuardRow]) -> str:
    unproved = [row for row in rows if not row.is_proof]
    if unproved:
        return "; ".join(f"NOT PROVED by {row.test}: {row.how}" for row in unproved)
    return f"{len(rows)} of {len(rows)} fail without it: {rows[0].how}"


if __name__ == "__main__":
    sys.exit(main())
