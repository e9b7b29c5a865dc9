"""Own the life of a job: every allowed change of status, as one table. Pure."""

from rlt_core.errors import JobStateError
from rlt_core.schemas.jobs import JobStatus

TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    "queued": frozenset({"running", "paused", "cancelled", "failed"}),
    "running": frozenset({"succeeded", "failed", "cancelled", "paused", "queued"}),
    "paused": frozenset({"queued", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}


def check_transition(job_id: str, present: JobStatus, wanted: JobStatus) -> None:
    """Raise JobStateError unless `present` may become `wanted`."""
    if wanted not in TRANSITIONS[present]:
        allowed = ", ".join(sorted(TRANSITIONS[present])) or "nothing, it has ended"
        raise JobStateError(
            f"Job {job_id} is {present} and cannot become {wanted} (from here: {allowed}).", extra={"status": present}
        )
