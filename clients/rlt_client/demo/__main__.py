"""`python -m rlt_client.demo` (or `make demo`): train a teacher on this machine and watch it swap into serving."""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlt_client import APIError
from rlt_client.demo import provenance
from rlt_client.demo.loop import DemoError, Demonstration, Outcome
from rlt_client.demo.plan import DemoPlan
from rlt_client.demo.server import ServerStartError, running_server
from rlt_client.demo.show import Screen
from rlt_client.demo.table import DemoRun, to_markdown, write_figures

DEFAULT_HOME = Path("~/.rlt")


def run(
    home: Annotated[Path, typer.Option(envvar="RLT_HOME", help="State folder of the server.")] = DEFAULT_HOME,
    results: Annotated[
        Path | None, typer.Option(help="Where rows and figures go; default: results/ under the state folder.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of questions, training and sampling.")] = 0,
) -> None:
    """Generate questions, warm up student and teacher, reinforce the teacher, gate it, swap it, and measure.

    About a quarter of an hour on two cores. Rows (one a question and model) and figures are written as JSON; the table
    at the end is computed from them. Set RLT_BASE_URL to use a server that runs already.
    """
    screen, plan, started = Screen(), DemoPlan(seed=seed), time.monotonic()
    home = home.expanduser().absolute()
    folder = results or home / "results"
    try:
        home.mkdir(parents=True, exist_ok=True)
        (folder / "demo").mkdir(parents=True, exist_ok=True)  # before a quarter of an hour is spent on what goes there
        with running_server(home=home, screen=screen) as client:
            start_s = time.monotonic() - started
            outcome = Demonstration(client, plan=plan, screen=screen).run()
        outcome.parts_s["start"] = start_s
        figures = _record(outcome, plan=plan, folder=folder, wall_s=time.monotonic() - started)
    except (DemoError, ServerStartError, APIError) as error:
        screen.say(f"\nThe demonstration stopped: {error}")
        raise typer.Exit(code=1) from error
    except OSError as error:
        screen.say(
            f"\nThe demonstration stopped: {error.filename or 'a file'} cannot be used ({error.strerror or error}). "
            "Free some space, or choose another state folder with RLT_HOME=FOLDER, or for the results --results FOLDER."
        )
        raise typer.Exit(code=1) from error
    screen.title("The table")
    screen.say(figures)
    screen.say(f"\nRows: {folder / 'demo' / 'rows.jsonl'}; figures: {folder / 'demo.json'}")


def _record(outcome: Outcome, *, plan: DemoPlan, folder: Path, wall_s: float) -> str:
    run = DemoRun(
        commit=provenance.commit(),
        date=provenance.date(),
        machine=provenance.machine(),
        command=provenance.command(sys.argv[1:], make=os.environ.get("RLT_DEMO_COMMAND")),
        engine=outcome.engine,
        wall_s=wall_s,
        parts_s=outcome.parts_s,
        gate="promoted" if outcome.promotion.outcome == "promoted" else "refused",
        gate_reason=outcome.promotion.reason,
        gate_evaluation=outcome.evaluation,
        reward=dict(plan.reward),
        sizes={name: value for name, value in asdict(plan).items() if isinstance(value, int)}
        | {"rl_steps": outcome.rl_steps},
        traffic={
            "requests": outcome.answers.requests,
            "failed": outcome.answers.failed,
            "versions": outcome.answers.versions,
        },
    )
    lines = [json.dumps(row.model_dump(), ensure_ascii=False) for row in outcome.rows]
    (folder / "demo" / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "demo" / "run.json").write_text(run.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return to_markdown(write_figures(folder))


if __name__ == "__main__":
    typer.run(run)
