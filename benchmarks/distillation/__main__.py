"""Choose a task, make and measure the students, compute the figures; what is done already is not done again.

make experiment-distill
python -m benchmarks.distillation {all,figures} --help

Each file of rows under --out is whole or not there, and is not made again; the server's state lies in --work. Ends with
3 where time ran out: the same command goes on. A trial of the whole chain in minutes, whose figures mean nothing and
stay in --work: `make experiment-distill SMOKE=--smoke`.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.distillation import pilot
from benchmarks.distillation.page import write_page
from benchmarks.distillation.plan import TINY, Plan
from benchmarks.distillation.protocol import Run
from benchmarks.distillation.teachers import state_of
from benchmarks.experiment.page import missing_of, run_of
from benchmarks.experiment.serving import note_run, served
from benchmarks.experiment.session import OutOfTimeError, say, write_whole
from benchmarks.experiment.tasks import tasks

GOES_ON = 3


def main() -> int:
    """Read the options, do what is left; GOES_ON where time ran out."""
    options = _arguments()
    if options.part == "figures":
        write_page(options.out)
        return 0
    if options.smoke:
        options.work = options.work / "smoke"
        options.out = options.work / "results"
        options.plan = json.dumps(TINY)
    options.work = options.work.resolve()
    options.until_s = time.monotonic() + 60.0 * options.minutes
    try:
        _all(options)
    except OutOfTimeError as error:
        say(str(error))
        return GOES_ON
    finally:
        write_page(options.out)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.distillation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chosen = parser.add_subparsers(dest="part", required=True)
    part = chosen.add_parser("all", help="pilot, arms and figures, in one bound of time")
    part.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    part.add_argument("--data", type=Path, required=True, help="folder with GSM8K and countdown rows")
    part.add_argument("--work", type=Path, required=True, help="folder for the server's state; kept between runs")
    part.add_argument("--rl-work", type=Path, required=True, help="that of make experiment-rl, whose teachers are used")
    part.add_argument("--rl-out", type=Path, required=True, help="rows of make experiment-rl, docs/results/rl")
    part.add_argument("--minutes", type=float, default=90.0, help="stop after so long; the same command goes on")
    part.add_argument("--plan", default="{}", help="JSON of sizes that are not the protocol's, for a trial")
    part.add_argument("--smoke", action="store_true", help="the whole chain at tiny size, apart from the real rows")
    chosen.add_parser("figures", help="compute tables, curves and distil.json from the rows")
    for one in chosen.choices.values():
        one.add_argument("--out", type=Path, required=True, help="folder for the rows, docs/results/distil")
    return parser.parse_args()


def _all(options: argparse.Namespace) -> None:
    plan = Plan.read(json.loads(options.plan))
    candidates = tasks(options.data)
    plan = plan.on(plan.task or _chosen(options, plan=plan))
    missing = missing_of(options.out, names=plan.row_files())
    say(f"{len(missing)} of {len(plan.row_files())} files of rows are missing: {', '.join(missing)}")
    if not missing:
        return
    work = options.work / "main"
    note_run(options.out / "run.json", sizes=asdict(plan))
    home = state_of(work, plan=plan, rl_work=options.rl_work.resolve() / "main", rl_out=options.rl_out)
    with served(options.home, work=work, out=options.out, until_s=options.until_s, home=home) as session:
        Run(session, plan=plan, task=candidates[str(plan.task)]).all()


def _chosen(options: argparse.Namespace, *, plan: Plan) -> str:
    """Give the pilot's choice, from its file, or run what is left of it."""
    out = options.out / "pilot"
    path = out / "pilot.json"
    if not path.exists():
        note_run(out / "run.json", sizes=asdict(plan))
        with served(options.home, work=options.work / "pilot", out=out, until_s=options.until_s) as session:
            pilot.run_pilot(session, plan=plan, tasks=tasks(options.data))
        theirs = run_of(options.rl_out)
        found = pilot.figures_of(pilot.read_rows(out), teachers_task=theirs and theirs["plan"]["task"])
        write_whole(path, json.dumps(found, indent=1) + "\n")
        say(pilot.table_of(found))
    choice = json.loads(path.read_text(encoding="utf-8"))["choice"]
    if choice is None:
        raise SystemExit(f"by {path} no task can be taken: the protocol (docs/decisions/0028) has to be changed first")
    return choice


if __name__ == "__main__":
    sys.exit(main())
