from typing import get_args

import pytest

from rlt_core.errors import JobStateError
from rlt_core.schemas.jobs import TERMINAL, JobStatus
from rlt_service.store.transitions import TRANSITIONS, check_transition

STATUSES: tuple[JobStatus, ...] = get_args(JobStatus)
# reliability.md, "Jobs": written out here a second time, so that neither table can drift alone.
ALLOWED = {
    ("queued", "running"),
    ("queued", "paused"),
    ("queued", "cancelled"),
    ("queued", "failed"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("running", "paused"),
    ("running", "queued"),
    ("paused", "queued"),
    ("paused", "cancelled"),
}
PAIRS = [(present, wanted) for present in STATUSES for wanted in STATUSES]


@pytest.mark.parametrize(("present", "wanted"), [pair for pair in PAIRS if pair not in ALLOWED])
def test_every_other_transition_is_refused_with_the_present_status(present: JobStatus, wanted: JobStatus) -> None:
    with pytest.raises(JobStateError, match=f"is {present}") as caught:
        check_transition("job_1", present, wanted)
    assert caught.value.extra == {"status": present}


@pytest.mark.parametrize(("present", "wanted"), sorted(ALLOWED))
def test_the_eleven_transitions_of_the_design_are_allowed(present: JobStatus, wanted: JobStatus) -> None:
    check_transition("job_1", present, wanted)


def test_nothing_follows_a_terminal_status() -> None:
    assert all(not TRANSITIONS[status] for status in STATUSES if status in TERMINAL)
