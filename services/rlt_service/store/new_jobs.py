"""Own the row of a job that is handed in; who stores it adds the bell that it is owed and its first event."""

from typing import Any

from rlt_core.schemas.base import new_id, now_utc
from rlt_core.schemas.jobs import SPEC_VERSION, CollectSpec, EvaluateSpec, Progress, SubmittedSpec
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_core.spans import here
from rlt_service.store.job_rows import total_of
from rlt_service.store.tables import JobRow


def new_row(
    spec: SubmittedSpec, *, queue: str, owner: str | None, submitter: str | None, traceparent: str | None = None
) -> JobRow:
    """Make the row of a job that waits; it belongs to the trace of `traceparent`, or else of the work at hand."""
    return JobRow(
        id=new_id("job"),
        kind=spec.kind,
        name=spec.name,
        queue=queue,
        status="queued",
        priority=spec.priority,
        not_before=spec.not_before,
        created_at=now_utc(),
        attempt=0,
        beat=0,
        cancel_requested=False,
        pause_requested=False,
        runtime_s=0.0,
        crashes=0,
        progress_attempt=0,
        best_step=0,
        last_seq=0,
        owner=owner,
        submitter=submitter,
        processes=processes_of(spec),
        max_runtime_s=spec.max_runtime_s,
        traceparent=traceparent or _here(),
        spec_version=SPEC_VERSION,
        spec=_stored(spec),
        progress=Progress(total=total_of(spec)).model_dump(),
    )


def processes_of(spec: SubmittedSpec) -> int:
    """Give how many processes a job trains in at once, of a pipeline its largest step's."""
    match spec:
        case PipelineSpec():
            return max(processes_of(step.spec) for step in spec.steps)
        case CollectSpec() | EvaluateSpec():
            return 1
        case _:
            return spec.parallel.processes


def _here() -> str | None:
    place = here()
    return None if place is None else place.traceparent


def _stored(spec: SubmittedSpec) -> dict[str, Any]:
    # What a step's spec leaves out must stay left out: checks tell what was asked for from what was not.
    return spec.model_dump(mode="json", exclude_unset=isinstance(spec, PipelineSpec))
