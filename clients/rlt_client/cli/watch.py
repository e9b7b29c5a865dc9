"""Follow a job to its end: a bar with the time left on a terminal, plain lines elsewhere."""

from collections.abc import Callable
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rlt_client import Client
from rlt_client.cli.exit_codes import ExitCode
from rlt_client.cli.state import State, print_json
from rlt_core.schemas.jobs import Job, JobEvent

METRICS: Final = ("reward", "r_ss", "r_kl", "loss", "questions_per_s", "rows", "right_share")
"""Shown beside the step, where the job has them."""
SKIPPED_SHOWN: Final = 5
"""Rows left out of a collect that are named; `--json` has up to a hundred."""
LONGEST_LINE: Final = 200
"""Characters of an event's facts."""


def follow(client: Client, job_id: str, *, state: State, quiet: bool = False) -> Job:
    """Show a job until it has ended; Ctrl-C stops looking, not the job. Raises typer.Exit(4) unless it succeeded.

    `quiet` prints nothing but the job as JSON, at the end.
    """
    try:
        if quiet:
            job = client.jobs.wait(job_id)
        elif state.out.is_terminal:
            job = _with_bar(client, job_id, console=state.out)
        else:
            job = client.jobs.wait(job_id, on_event=lambda event: say(event, console=state.out))
    except KeyboardInterrupt:
        state.errors.print(f"no longer watching; {job_id} goes on (end it with `rlt jobs cancel {job_id}`)")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if quiet:
        print_json(job)
    else:
        show_end(job, state=state)
    if job.status != "succeeded":
        raise typer.Exit(ExitCode.JOB)
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
        left = time_left(event.data.get("eta_s"))
        return "  ".join(part for part in (f"step {step}{f'/{total}' if total else ''}", shown, left) if part)
    if event.type == "log":
        return str(event.data.get("message", ""))
    facts = ", ".join(f"{name} {value}" for name, value in event.data.items() if isinstance(value, str | int | float))
    return f"{event.type}{f': {facts}' if facts else ''}"[:LONGEST_LINE]


def time_left(eta_s: float | None) -> str:
    """Say how long a job still takes, in the two largest units; nothing where that is not known."""
    if eta_s is None:
        return ""
    seconds = max(0, round(eta_s))
    if seconds < 60:
        return f"{seconds} s left"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s left"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min left" if hours < 48 else f"{hours // 24} d {hours % 24} h left"


def say(event: JobEvent, *, console: Console) -> None:
    """Print one event as a line with its time (UTC)."""
    console.print(f"{event.created_at:%H:%M:%S}  {describe(event)}", markup=False)


def _with_bar(client: Client, job_id: str, *, console: Console) -> Job:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeElapsedColumn())
    told = (TextColumn("{task.fields[left]}", style="cyan"), TextColumn("{task.fields[shown]}"))
    with Progress(*columns, *told, console=console, expand=True) as progress:
        task = progress.add_task(job_id, total=None, shown="", left="")
        return client.jobs.wait(job_id, on_event=_painter(progress, task, job_id=job_id))


def _painter(progress: Progress, task: TaskID, *, job_id: str) -> Callable[[JobEvent], None]:
    def paint(event: JobEvent) -> None:
        if event.type == "progress":
            step, total = event.data.get("step", 0), event.data.get("total")
            shown, left = _metrics(event.data.get("metrics", {})), time_left(event.data.get("eta_s"))
            progress.update(task, completed=step, total=total, shown=shown, left=left, description=job_id)
        elif event.type == "log":
            progress.console.print(describe(event), style="dim", markup=False)
        elif event.type not in ("sample", "solved"):
            progress.update(task, description=f"{job_id} {event.type}")

    return paint


def _metrics(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in METRICS if name in metrics)
