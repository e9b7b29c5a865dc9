"""A job's books show every way in which a fault can have broken a promise: a judge that sees nothing proves nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime

import psutil
import pytest

from benchmarks.reliability import stalls
from benchmarks.reliability.leaks import Leaks
from benchmarks.reliability.ledger import Book
from rlt_core.schemas.jobs import Job, JobEvent, JobStatus, WarmupSpec

AT = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = WarmupSpec(kind="warmup", role="teacher", dataset="ds_none", target_name="algebra")

Told = tuple[str, int] | tuple[str, int, int]
"""An event's type and attempt, and the step of a progress."""

# Killed after step 2, which was saved: taken up at step 3.
SOUND: list[Told] = [
    ("queued", 0),
    ("started", 1),
    ("progress", 1, 1),
    ("progress", 1, 2),
    ("requeued", 1),
    ("started", 2),
    ("progress", 2, 3),
    ("succeeded", 2),
]


def book(told: Sequence[Told], *, status: JobStatus = "succeeded", attempt: int = 2, versions: int = 1) -> Book:
    events = [
        JobEvent(
            seq=seq,
            job_id="job_1",
            attempt=each[1],
            created_at=AT,
            type=each[0],
            data={"step": each[2]} if len(each) == 3 else {},
        )
        for seq, each in enumerate(told, start=1)
    ]
    job = Job(id="job_1", kind="warmup", status=status, created_at=AT, attempt=attempt, spec=SPEC)
    return Book(job=job, events=events, versions=versions)


def test_a_job_that_was_taken_up_where_it_was_saved_is_sound() -> None:
    assert book(SOUND).faults(save_every=1) == []
    assert book(SOUND).lost_steps() == [0]


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ([*SOUND, ("succeeded", 2)], "its ends are"),
        ([*SOUND, ("log", 2)], "its ends are"),
        (SOUND[:-1], "its ends are"),
        ([*SOUND[:-1], ("progress", 1, 3), ("succeeded", 2)], "an event of a former attempt"),
        ([*SOUND[:1], *SOUND[2:]], "its attempts did not start once each"),
        ([*SOUND[:6], ("started", 2), *SOUND[6:]], "its attempts did not start once each"),
        ([*SOUND[:6], ("progress", 2, 1), ("progress", 2, 2), *SOUND[6:]], "steps taken again"),
        ([*SOUND[:7], ("progress", 2, 5), *SOUND[7:]], "steps of attempt 2 are"),
    ],
    ids=["two ends", "after its end", "no end", "a stale write", "not started", "twice", "lost work", "left out"],
)
def test_what_a_history_must_not_hold_is_a_fault(told: list[Told], fault: str) -> None:
    found = book(told).faults(save_every=1)
    assert [text for text in found if fault in text], found


@pytest.mark.parametrize(("status", "versions"), [("succeeded", 0), ("succeeded", 2), ("cancelled", 1), ("failed", 1)])
def test_a_job_that_succeeded_has_one_version_and_any_other_none(status: JobStatus, versions: int) -> None:
    told: list[Told] = [*SOUND[:-1], (status, 2)]
    [fault] = book(told, status=status, versions=versions).faults(save_every=1)
    assert f"{versions} registered versions" in fault


def test_a_job_that_has_not_ended_is_a_fault() -> None:
    assert book(SOUND[:-1], status="running").faults(save_every=1) == ["it has not ended: running"]


def test_an_attempt_more_than_a_stall_explains_is_a_fault() -> None:
    assert stalls.faults(book(SOUND), stalled=1) == []
    again: list[Told] = [*SOUND[:-1], ("requeued", 2), ("started", 3), ("succeeded", 3)]
    assert book(again, attempt=3).faults(save_every=1) == []
    assert stalls.faults(book(again, attempt=3), stalled=1) == ["attempt 1 stalled, and it ended in attempt 3"]


def test_events_that_are_missing_are_a_fault() -> None:
    sound = book(SOUND)
    torn = Book(job=sound.job, events=[*sound.events[:3], *sound.events[4:]], versions=1)
    assert "its events are not numbered 1, 2, 3 …" in torn.faults(save_every=1)


def leaks(memory_mib: list[float], descriptors: list[int]) -> Leaks:
    return Leaks("it", psutil.Process(), memory_mib=memory_mib, descriptors=descriptors)


@pytest.mark.parametrize(
    ("memory_mib", "descriptors", "fault"),
    [
        ([80.0, 100.0, 100.0, 100.0, 100.0, 109.0], [20] * 6, None),
        ([80.0, 100.0, 100.0, 100.0, 120.0, 120.0], [20] * 6, "memory grew to 1.20 times"),
        ([100.0] * 6, [20, 20, 20, 20, 30, 30], "10 more file descriptors"),
        ([100.0] * 5, [20] * 5, "only 5 looks"),
    ],
)
def test_what_grows_is_seen(memory_mib: list[float], descriptors: list[int], fault: str | None) -> None:
    assert [text.partition(": ")[2] for text in leaks(memory_mib, descriptors).faults()] == ([fault] if fault else [])
