"""Own the exit codes of `rlt`: few, stable, each with its meaning; pure."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a call of the command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    JOB = 4
    UNAVAILABLE = 5
    NO_ACCESS = 6
    INTERRUPTED = 130


def of_status(status: int) -> ExitCode:
    """Choose the exit code of a refusal by its HTTP status."""
    if status in (400, 413, 415, 422):
        return ExitCode.USAGE
    if status in (401, 403):
        return ExitCode.NO_ACCESS
    if status in (429, 502, 503, 504):
        return ExitCode.UNAVAILABLE
    return ExitCode.NOT_FOUND if status == 404 else ExitCode.FAILED
