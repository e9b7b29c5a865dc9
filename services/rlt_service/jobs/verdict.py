"""Own what a trainer's end means for its job where it brought no result. Pure."""

import signal

from rlt_core.schemas.jobs import JobError
from rlt_core.schemas.trainer import EXIT_DISK_FULL, ErrorEvent

LEASE_LOST = "the worker stopped answering: its lease ran out"


def error_of(said: ErrorEvent | None, *, exit_code: int, memory_kills: int, log_tail: str) -> JobError:
    """Name why an attempt failed.

    `said` is the trainer's own last word; `exit_code` (negative: the signal) counts where it said none, and
    `memory_kills` is how many processes the kernel has ended for want of memory while it ran.
    """
    if said is None:
        said = _unsaid(exit_code, memory_kills=memory_kills)
    return JobError(code=said.code, message=said.message, retryable=said.retryable, log_tail=log_tail)


def _unsaid(exit_code: int, *, memory_kills: int) -> ErrorEvent:
    if exit_code == EXIT_DISK_FULL:
        return ErrorEvent(code="disk_full", message="the trainer could write nothing more", retryable=True)
    ending = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    if memory_kills:
        message = f"the kernel ended a process of the trainer for want of memory ({ending})"
        return ErrorEvent(code="out_of_memory", message=message, retryable=True)
    hint = ", which no supervisor sent: perhaps the machine ran out of memory" if exit_code == -signal.SIGKILL else ""
    return ErrorEvent(
        code="worker_lost", message=f"the trainer ended without a result ({ending}{hint})", retryable=True
    )
