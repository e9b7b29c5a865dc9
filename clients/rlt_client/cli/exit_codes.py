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
    READER_GONE = 141

    @property
    def meaning(self) -> str:
        """Say it in a few words, as help and documentation do."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed",
    ExitCode.USAGE: "wrong usage or a value that the server refuses",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.JOB: "the watched job did not succeed",
    ExitCode.UNAVAILABLE: "no server answers or it is busy",
    ExitCode.NO_ACCESS: "no access",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.READER_GONE: "who read the output has gone",
}


def of_status(status: int) -> ExitCode:
    """Choose the exit code of a refusal by its HTTP status."""
    if status in (400, 413, 415, 422):
        return ExitCode.USAGE
    if status in (401, 403):
        return ExitCode.NO_ACCESS
    if status in (429, 502, 503, 504):
        return ExitCode.UNAVAILABLE
    return ExitCode.NOT_FOUND if status == 404 else ExitCode.FAILED
