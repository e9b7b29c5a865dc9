"""`rlt jobs logs`, `metrics` and `samples`: what a job has written, how its figures went, what it said on the way."""

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from rlt_client import Client
from rlt_client.cli import tables
from rlt_client.cli.exit_codes import ExitCode
from rlt_client.cli.ids import JobId
from rlt_client.cli.messages import RefusedError, did_you_mean
from rlt_client.cli.state import Json, State, print_json, print_json_line, state_of
from rlt_core.schemas.jobs import TERMINAL, JobEvent, JobMetrics

POLL_S: Final = 1.0
SPARKS: Final = "▁▂▃▄▅▆▇█"
SPARK_WIDTH: Final = 24
OVERLAP: Final = 400
"""Characters by which the end of what was printed is found again in a later reading."""
SAMPLES: Final = ("sample", "solved")
"""Types of events that hold what a policy said."""
PAGE: Final = 1000


def logs(
    context: typer.Context,
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Print what the job's trainer wrote; with --json a line of JSON for each of its lines."""
    state = state_of(context)
    with state.client() as client:
        try:
            for part in _log_parts(client, job_id, follow=follow):
                if not as_json:
                    typer.echo(part, nl=not follow and not part.endswith("\n"))
                    continue
                for line in part.splitlines():
                    print_json_line({"job": job_id, "line": line})
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def fresh(before: str, now: str) -> str:
    """Give what a later reading of a log's end has beyond an earlier one: all of it, where nothing is in both."""
    if now.startswith(before):
        return now[len(before) :]
    mark = before[-OVERLAP:]
    place = now.find(mark)
    return now if place < 0 else now[place + len(mark) :]


def metrics(
    context: typer.Context,
    job_id: JobId,
    chosen: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="Only this one; may be repeated.", metavar="NAME")
    ] = None,
    points: Annotated[int, typer.Option(min=2, help="Most steps; more are thinned.")] = 200,
    as_table: Annotated[bool, typer.Option("--table", help="A row a step, as in a pipe.")] = False,
    as_json: Json = False,
) -> None:
    """Show how reward, loss and the like went: a curve each on a terminal, a row a step in a pipe.

    Example: `rlt jobs metrics job_1 -m reward -m r_kl`
    """
    state = state_of(context)
    with state.client() as client:
        found = client.jobs.metrics(job_id, max_points=points)
    names = _names(found, chosen or [])
    found = found.model_copy(update={"series": {name: found.series[name] for name in names}})
    if as_json:
        print_json(found)
    elif as_table or not state.out.is_terminal:
        rows = [
            (str(step), *(_figure(found.series[name][index]) for name in names))
            for index, step in enumerate(found.steps)
        ]
        tables.show(("step", *names), rows, out=state.out, empty="no steps yet")
    else:
        rows = [_summary(name, found.series[name]) for name in names]
        tables.show(
            ("metric", "curve", "first", "last", "lowest", "highest"), rows, out=state.out, empty="no steps yet"
        )


def spark(values: Sequence[float | None], *, width: int = SPARK_WIDTH) -> str:
    """Draw a curve in one line, a character for the mean of each part; a space where a part has no value."""
    present = [value for value in values if value is not None]
    if not present:
        return ""
    low, high = min(present), max(present)
    count = min(width, len(values))
    drawn = list[str]()
    for index in range(count):
        part = values[index * len(values) // count : (index + 1) * len(values) // count]
        known = [value for value in part if value is not None]
        if not known:
            drawn.append(" ")
            continue
        share = (sum(known) / len(known) - low) / (high - low) if high > low else 0.0
        drawn.append(SPARKS[min(len(SPARKS) - 1, int(share * len(SPARKS)))])
    return "".join(drawn)


def samples(
    context: typer.Context,
    job_id: JobId,
    step: Annotated[int | None, typer.Option(min=0, help="Only this step.")] = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="Most samples, the newest ones.")] = 3,
    as_json: Json = False,
) -> None:
    """Show what the policy said on the way: explanations of an `rl`, solutions of an `rlvr`, one a step."""
    state = state_of(context)
    with state.client() as client:
        found = [event for event in _events(client, job_id) if event.type in SAMPLES]
    found = [event for event in found if step is None or event.data.get("step") == step][-last:]
    if as_json:
        print_json({"object": "list", "data": [event.model_dump(mode="json") for event in found]})
        return
    for event in found:
        _show_sample(event.data, state=state)
    if not found:
        state.out.print("no samples" if step is None else f"no sample of step {step}", markup=False)


def _log_parts(client: Client, job_id: str, *, follow: bool) -> Iterator[str]:
    before = ""
    while True:
        # Asked first: what is written between the two readings is still in the second.
        ended = not follow or client.jobs.get(job_id).status in TERMINAL
        now = client.jobs.logs(job_id)
        if part := fresh(before, now):
            yield part
        if ended:
            return
        before = now
        time.sleep(POLL_S)


def _events(client: Client, job_id: str) -> Iterator[JobEvent]:
    after = 0
    while True:
        page = client.jobs.events_after(job_id, after=after, limit=PAGE)
        yield from page.data
        if not page.has_more or not page.data:
            return
        after = page.data[-1].seq


def _names(found: JobMetrics, chosen: list[str]) -> list[str]:
    known = list(found.series)
    for name in chosen:
        if name not in known:
            raise RefusedError(
                f"{found.job} has no metric {name!r}: it has {', '.join(known) or 'none yet'}."
                f"{did_you_mean(name, known)}",
                code="metric_not_found",
                exit_code=ExitCode.NOT_FOUND,
            )
    return chosen or known


def _summary(name: str, values: Sequence[float | None]) -> tuple[str | Text, ...]:
    present = [value for value in values if value is not None]
    if not present:
        return (name, "", "", "", "", "")
    ends = (present[0], present[-1], min(present), max(present))
    return (name, Text(spark(values), style="cyan"), *(_figure(value) for value in ends))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _show_sample(data: dict[str, Any], *, state: State) -> None:
    facts = [
        f"{name} {data[name]:.4g}" for name in ("reward", "r_ss", "r_kl") if isinstance(data.get(name), int | float)
    ]
    if "right" in data:
        facts.append("right" if data["right"] else f"wrong: {data.get('why', '')}")
    if data.get("well_formed") is False:
        facts.append("closing tag missing")
    state.out.print(f"step {data.get('step')}  {'  '.join(facts)}", style="bold", markup=False)
    parts = ("question", "text", "thought", "solution")
    width = max(len(name) for name in parts if data.get(name)) if any(data.get(name) for name in parts) else 0
    for name in parts:
        if said := data.get(name):
            state.out.print(Text.assemble((f"{name:>{width + 2}}  ", "dim"), str(said).strip()))
