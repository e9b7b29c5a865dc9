"""Own an attempt's place in the trace of its job's submission, and how its trainer comes to know it."""

from collections.abc import Generator
from contextlib import contextmanager

from rlt_core import trace_context
from rlt_core.log_records import bound
from rlt_core.spans import ENDPOINT_VARIABLE, span
from rlt_service.settings import Settings
from rlt_service.store.jobs import ClaimedJob


@contextmanager
def traced(claimed: ClaimedJob) -> Generator[None]:
    """Record the block as the attempt; records of logs carry job, attempt and the trace's number."""
    id_, attempt, above = claimed.job.id, claimed.attempt, trace_context.parse(claimed.traceparent)
    with (
        span(
            "job attempt",
            kind="consumer",
            above=above,
            begin=True,
            rlt__job_id=id_,
            rlt__job_kind=claimed.job.kind,
            rlt__attempt=attempt,
        ),
        bound(job=id_, attempt=attempt, **trace_context.fields()),
    ):
        yield


def trace_variables(settings: Settings) -> dict[str, str]:
    """Give what lets a trainer go on in the attempt's trace, and send its spans where ours go."""
    context = trace_context.current()
    told = {} if context is None else {trace_context.VARIABLE: context.traceparent}
    return told | ({ENDPOINT_VARIABLE: settings.traces_to} if settings.traces_to else {})
