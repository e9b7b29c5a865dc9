import signal

import pytest

from rlt_core.schemas.trainer import EXIT_DISK_FULL, ErrorEvent
from rlt_service.jobs.verdict import error_of


@pytest.mark.parametrize(
    ("exit_code", "memory_kills", "code"),
    [
        (-signal.SIGKILL, 0, "worker_lost"),
        (-signal.SIGKILL, 1, "out_of_memory"),
        (1, 1, "out_of_memory"),  # a launcher ends with 1 when one of its ranks was killed
        (EXIT_DISK_FULL, 0, "disk_full"),
        (0, 0, "worker_lost"),
    ],
)
def test_an_end_without_a_word_is_named_by_its_exit_code_and_the_kernels_count(
    exit_code: int, memory_kills: int, code: str
) -> None:
    error = error_of(None, exit_code=exit_code, memory_kills=memory_kills, log_tail="last")
    assert (error.code, error.retryable, error.log_tail) == (code, True, "last")


def test_a_kill_that_nobody_owned_up_to_hints_at_the_machines_memory() -> None:
    error = error_of(None, exit_code=-signal.SIGKILL, memory_kills=0, log_tail="")
    assert "signal 9" in error.message
    assert "out of memory" in error.message


def test_what_the_trainer_said_itself_counts_more_than_how_it_ended() -> None:
    said = ErrorEvent(code="invalid", message="no rows", retryable=False)
    error = error_of(said, exit_code=-signal.SIGKILL, memory_kills=1, log_tail="")
    assert (error.code, error.message, error.retryable) == ("invalid", "no rows", False)
