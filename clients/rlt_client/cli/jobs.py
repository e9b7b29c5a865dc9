"""`rlt jobs`: list, show, watch, read and end training jobs."""

from typing import Annotated, Literal

import typer

from rlt_client import Client
from rlt_client.cli import job_reading, tables
from rlt_client.cli import watch as watching
from rlt_client.cli.ids import JobId
from rlt_client.cli.state import Json, print_json, state_of
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import AnySpec, Job
from rlt_core.schemas.pipelines import PipelineSpec

Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
Kind = Literal["warmup", "rl", "collect", "distill", "evaluate", "rlvr", "pipeline"]


def build() -> typer.Typer:
    """Put the group together."""
    group = typer.Typer(
        help="Training jobs: list, show, watch, logs, metrics, samples, pause, resume, cancel.", no_args_is_help=True
    )
    reading = (("list", show_list), ("show", show), ("watch", watch), ("logs", job_reading.logs))
    figures = (("metrics", job_reading.metrics), ("samples", job_reading.samples))
    for name, command in (*reading, *figures, ("pause", pause), ("resume", resume), ("cancel", cancel)):
        group.command(name)(command)
    return group


def show_list(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to show.")] = 20,
    status: Annotated[Status | None, typer.Option(help="Only these.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only these.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Only the steps of this pipeline.")] = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    state = state_of(context)
    with state.client() as client:
        page = client.jobs.list(limit=limit, status=status, kind=kind, pipeline=pipeline)
    if as_json:
        print_json(page)
        return
    rows = [
        (job.id, job.kind, job.status, _step(job), f"{job.created_at:%Y-%m-%d %H:%M}", job.name or "")
        for job in page.data
    ]
    tables.show(("id", "kind", "status", "step", "created", "name"), rows, out=state.out, empty="no jobs")


def show(context: typer.Context, job_id: JobId, as_json: Json = False) -> None:
    """Show one job: its state, what it was asked for, what it made."""
    state = state_of(context)
    with state.client() as client:
        job = client.jobs.get(job_id)
        steps = _steps(client, job)
    if as_json:
        print_json(job)
        return
    state.out.print(_title(job), markup=False)
    left = watching.time_left(job.progress.eta_s) if job.status == "running" else ""
    state.out.print(
        f"  step {_step(job)}{f', {left}' if left else ''}, attempt {job.attempt}, "
        f"created {job.created_at:%Y-%m-%d %H:%M:%S}Z"
    )
    for name, value in job.progress.metrics.items():
        state.out.print(f"  {name}: {value:.4g}", markup=False)
    if steps:
        tables.show(("round", "step", "kind", "status", "steps", "job"), steps, out=state.out)
    watching.show_end(job, state=state)


def _title(job: Job) -> str:
    if isinstance(job.spec, PipelineSpec):
        rounds = f", {job.spec.rounds} rounds" if job.spec.rounds > 1 else ""
        return f"pipeline of {len(job.spec.steps)} steps{rounds}"
    of = f", {job.pipeline.step} of {job.pipeline.job}, round {job.pipeline.round}" if job.pipeline else ""
    return f"{job.kind} on {job.spec.dataset} for {_aim(job, job.spec)}{of}"


def _steps(client: Client, job: Job) -> list[tuple[str, ...]]:
    """Give a row for each step of a pipeline that has been begun, or taken over, in the order in which they were."""
    if not isinstance(job.spec, PipelineSpec):
        return []
    own: list[Job] = []
    page = client.jobs.list(pipeline=job.id, limit=100)
    own += page.data
    while page.has_more:
        page = client.jobs.list(pipeline=job.id, limit=100, after=page.last_id)
        own += page.data
    taken = job.result.steps if job.result is not None else []
    rows = [(str(s.round), s.step, s.kind, "taken over", "", s.job) for s in taken if s.taken_over]
    for one in reversed(own):
        if one.pipeline is not None:
            place = one.pipeline
            rows.append((str(place.round), place.step, one.kind, one.status, _step(one), one.id))
    return rows


def _aim(job: Job, spec: AnySpec) -> str:
    """Say what a job is for: the name of a version, a dataset, or who is measured."""
    if isinstance(spec, CollectSpec):
        return job.output or "a dataset"
    if isinstance(spec, EvaluateSpec):
        return ", ".join(spec.models or [spec.model or ""])
    return spec.target_name


def watch(context: typer.Context, job_id: JobId, as_json: Json = False) -> None:
    """Follow a job to its end; exit code 4 unless it succeeded. Ctrl-C stops watching, not the job.

    On a terminal a bar with the step's figures and the time left; else a line an event; with --json the job, at the
    end.
    """
    state = state_of(context)
    with state.client() as client:
        watching.follow(client, job_id, state=state, quiet=as_json)


def pause(context: typer.Context, job_id: JobId, as_json: Json = False) -> None:
    """Hold a job back; a running one saves a checkpoint and makes room."""
    with state_of(context).client() as client:
        _show_status(context, client.jobs.pause(job_id), as_json=as_json)


def resume(context: typer.Context, job_id: JobId, as_json: Json = False) -> None:
    """Let a paused job go on from its last checkpoint."""
    with state_of(context).client() as client:
        _show_status(context, client.jobs.resume(job_id), as_json=as_json)


def cancel(context: typer.Context, job_id: JobId, as_json: Json = False) -> None:
    """End a job; a running one saves a checkpoint first."""
    with state_of(context).client() as client:
        _show_status(context, client.jobs.cancel(job_id), as_json=as_json)


def _show_status(context: typer.Context, job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    shown = job.status
    if job.status == "running" and job.cancel_requested:
        shown = "is being cancelled"
    elif job.status == "running" and job.pause_requested:
        shown = "is being paused"
    state_of(context).out.print(f"{job.id} {shown}", markup=False)


def _step(job: Job) -> str:
    total = job.progress.total
    return f"{job.progress.step}/{total}" if total else str(job.progress.step)
