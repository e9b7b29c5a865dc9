"""Follow a job to its end: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Callable

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rlt_client._client import Client
from rlt_client.cli.state import EXIT_INTERRUPTED, EXIT_JOB, State
from rlt_core.schemas.jobs import Job, JobEvent

METRICS = ("reward", "r_ss", "r_kl", "loss", "questions_per_s", "rows", "right_share")
"""Shown beside the step, where the job has them."""
SKIPPED_SHOWN = 5
"""Rows left out of a collect that are named; `--json` has up to a hundred."""


def follow(client: Client, job_id: str, *, state: State, quiet: bool = False) -> Job:
    """Show a job until it has ended; Ctrl-C stops looking, not the job. Raises typer.Exit(4) unless it succeeded."""
    try:
        if quiet:
            job = client.jobs.wait(job_id)
        elif state.out.is_terminal:
            job = _with_bar(client, job_id, console=state.out)
        else:
            job = client.jobs.wait(job_id, on_event=lambda event: _say(event, console=state.out))
    except KeyboardInterrupt:
        state.errors.print(f"no longer watching; {job_id} goes on (end it with `rlt jobs cancel {job_id}`)")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if not quiet:
        show_end(job, state=state)
    if job.status != "succeeded":
        raise typer.Exit(EXIT_JOB)
    return job


def show_end(job: Job, *, state: State) -> None:
    """Say what a job made, or why it made nothing."""
    state.out.print(f"{job.id} {job.status}", style="green" if job.status == "succeeded" else "bold", markup=False)
    if job.result is not None:
        for name in ("teacher", "student", "dataset", "evaluation"):
            if made := getattr(job.result, name):
                state.out.print(f"  {name}: {made}", markup=False)
        if counts := {name: count for name, count in job.result.counts.items() if count}:
            state.out.print("  " + ", ".join(f"{name} {count}" for name, count in counts.items()), markup=False)
        for skipped in job.result.skipped[:SKIPPED_SHOWN]:
            state.out.print(f"  left out: {skipped.row} ({skipped.reason}): {skipped.message}", markup=False)
        if promotion := job.result.promotion:
            state.out.print(f"  promotion: {promotion.alias} {promotion.outcome}: {promotion.reason}", markup=False)
    if job.error is not None:
        state.out.print(f"  error: {job.error.message} ({job.error.code})", style="red", markup=False)
        state.out.print(f"  {job.error.remedy}", markup=False)
        if job.error.log_tail:
            state.out.print(job.error.log_tail, style="dim", markup=False)


def describe(event: JobEvent) -> str:
    """Put one event into a line."""
    if event.type == "progress":
        step, total = event.data.get("step", 0), event.data.get("total")
        shown = _metrics(event.data.get("metrics", {}))
        return f"step {step}{f'/{total}' if total else ''}  {shown}".rstrip()
    if event.type == "log":
        return str(event.data.get("message", ""))
    facts = ", ".join(f"{name} {value}" for name, value in event.data.items() if isinstance(value, str | int | float))
    return f"{event.type}{f': {facts}' if facts else ''}"[:200]


def _with_bar(client: Client, job_id: str, *, console: Console) -> Job:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[shown]}"), console=console) as progress:
        task = progress.add_task(job_id, total=None, shown="queued")
        return client.jobs.wait(job_id, on_event=_painter(progress, task))


def _painter(progress: Progress, task: TaskID) -> Callable[[JobEvent], None]:
    def paint(event: JobEvent) -> None:
        if event.type == "progress":
            step, total = event.data.get("step", 0), event.data.get("total")
            progress.update(task, completed=step, total=total, shown=_metrics(event.data.get("metrics", {})))
        elif event.type == "log":
            progress.console.print(describe(event), style="dim", markup=False)
        else:
            progress.update(task, shown=event.type)

    return paint


def _say(event: JobEvent, *, console: Console) -> None:
    console.print(f"{event.created_at:%H:%M:%S}  {describe(event)}", markup=False)


def _metrics(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in METRICS if name in metrics)
