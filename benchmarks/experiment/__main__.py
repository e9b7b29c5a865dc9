"""Choose a task, train the arms on it, measure them, compute the figures; what is done already is not done again.

make experiment-rl
python -m benchmarks.experiment {pilot,run,figures} --help

The work folder holds the server's state, so that a run that was ended goes on where it was: jobs are durable, versions
are registered, a file of rows is whole or not there. Ends with 3 where time ran out: the same command goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.experiment import pilot
from benchmarks.experiment.arms import Plan
from benchmarks.experiment.page import missing_of, write_page
from benchmarks.experiment.protocol import run_arms
from benchmarks.experiment.serving import note_run, served
from benchmarks.experiment.session import OutOfTimeError, Session, say, write_whole
from benchmarks.experiment.tasks import tasks

GOES_ON = 3


def main() -> int:
    """Read the options, run the part that they name; GOES_ON where time ran out."""
    options = _arguments()
    options.until_s = time.monotonic() + 60.0 * getattr(options, "minutes", 0.0)
    parts: dict[str, Callable[[argparse.Namespace], None]] = {
        "all": _all,
        "pilot": _pilot,
        "run": _run,
        "figures": _figures,
    }
    try:
        parts[options.part](options)
    except OutOfTimeError as error:
        say(str(error))
        return GOES_ON
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiment", description=(__doc__ or "").partition("\n")[0]
    )
    chosen = parser.add_subparsers(dest="part", required=True)
    whole = "pilot, arms and figures, in one bound of time"
    for name, does in (
        ("all", whole),
        ("pilot", "try the tasks and choose one"),
        ("run", "train and measure the arms"),
    ):
        part = chosen.add_parser(name, help=does)
        part.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
        part.add_argument("--data", type=Path, required=True, help="folder with GSM8K and countdown rows")
        part.add_argument("--work", type=Path, required=True, help="folder for the server's state; kept between runs")
        part.add_argument("--minutes", type=float, default=90.0, help="stop after so long; the same command goes on")
        part.add_argument("--plan", default="{}", help="JSON of sizes that are not the protocol's, for a trial")
        part.add_argument("--tasks", nargs="*", default=[], help="pilot only these, for a trial")
    chosen.add_parser("figures", help="compute tables, curves and rl.json from the rows")
    for part in chosen.choices.values():
        part.add_argument("--out", type=Path, required=True, help="folder for the rows, docs/results/rl")
    return parser.parse_args()


def _all(options: argparse.Namespace) -> None:
    """Do what is left of both parts; the figures of what is there are written in any case."""
    try:
        _pilot(options)
        _run(options)
    finally:
        _figures(options)


def _pilot(options: argparse.Namespace) -> None:
    out, plan = options.out / "pilot", Plan(**json.loads(options.plan))
    candidates = {name: task for name, task in tasks(options.data).items() if name in (options.tasks or [name])}
    if (out / "pilot.json").exists():
        return
    with _session(options, work=options.work.resolve() / "pilot", out=out, plan=plan) as session:
        pilot.run_pilot(session, plan=plan, tasks=candidates)
    found = pilot.figures_of(pilot.read_rows(out))
    write_whole(out / "pilot.json", json.dumps(found, indent=1) + "\n")
    say(pilot.table_of(found))


def _run(options: argparse.Namespace) -> None:
    plan = Plan(**json.loads(options.plan))
    candidates = tasks(options.data)
    plan = plan if plan.task else replace(plan, task=_chosen(options.out / "pilot"))
    missing = missing_of(options.out, names=plan.row_files())
    say(f"{len(missing)} of {len(plan.row_files())} files of rows are missing: {', '.join(missing)}")
    if not missing:
        return
    with _session(options, work=options.work.resolve() / "main", out=options.out, plan=plan) as session:
        run_arms(session, plan=plan, task=candidates[str(plan.task)])


def _figures(options: argparse.Namespace) -> None:
    write_page(options.out)


def _chosen(folder: Path) -> str:
    path = folder / "pilot.json"
    if not path.exists():
        raise SystemExit(f"{path} is not there: run the pilot first")
    choice = json.loads(path.read_text(encoding="utf-8"))["choice"]
    if choice is None:
        raise SystemExit(f"by {path} no task can be taken: the protocol (docs/decisions/0022) has to be changed first")
    return choice


@contextmanager
def _session(options: argparse.Namespace, *, work: Path, out: Path, plan: Plan) -> Generator[Session]:
    note_run(out / "run.json", sizes=asdict(plan))
    with served(options.home, work=work, out=out, until_s=options.until_s) as session:
        yield session


if __name__ == "__main__":
    sys.exit(main())
