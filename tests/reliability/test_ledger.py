"""A job's books show every way in which a fault can have broken a promise: a judge that sees nothing proves nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime

import psutil
import pytest

from benchmarks.reliability import stalls
from benchmarks.reliability.leaks import Leaks
from benchmarks.reliability.ledger import Book
from rlt_core.schemas.jobs import Job, JobEvent, JobResult, JobStatus, PromotePolicy, RlSpec, WarmupSpec

AT = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = WarmupSpec(kind="warmup", role="teacher", dataset="ds_none", target_name="algebra")
PROMOTES = RlSpec(
    kind="rl", dataset="ds_none", target_name="algebra", promote=PromotePolicy(alias="own", when="always")
)

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


def book(
    told: Sequence[Told],
    *,
    status: JobStatus = "succeeded",
    attempt: int = 2,
    versions: int = 1,
    moves: int = 0,
    evaluations: int = 0,
    spec: WarmupSpec | RlSpec = SPEC,
    named: bool | None = None,
) -> Book:
    """Make a book; its job names a version as its result if it succeeded, unless `named` says otherwise."""
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
    names = status == "succeeded" if named is None else named
    result = JobResult(teacher="algebra@1") if names else None
    job = Job(id="job_1", kind=spec.kind, status=status, created_at=AT, attempt=attempt, spec=spec, result=result)
    return Book(job=job, events=events, versions=versions, moves=moves, evaluations=evaluations)


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
def test_a_job_that_succeeded_has_one_version_and_any_other_none_that_it_does_not_name(
    status: JobStatus, versions: int
) -> None:
    told: list[Told] = [*SOUND[:-1], (status, 2)]
    [fault] = book(told, status=status, versions=versions).faults(save_every=1)
    assert f"{versions} registered versions" in fault


@pytest.mark.parametrize(
    ("status", "versions", "named", "moves", "evaluations", "fault"),
    [
        ("succeeded", 1, True, 1, 1, None),
        ("succeeded", 1, True, 1, 0, None),
        ("succeeded", 1, True, 0, 1, "0 moves of an alias"),
        ("succeeded", 1, True, 2, 1, "2 moves of an alias"),
        ("succeeded", 2, True, 1, 1, "2 registered versions"),
        ("succeeded", 1, True, 1, 2, "2 evaluations"),
        ("cancelled", 0, False, 0, 0, None),
        ("cancelled", 0, True, 0, 0, "0 registered versions"),
        ("cancelled", 1, False, 0, 0, "1 registered versions"),
        ("cancelled", 1, True, 0, 1, None),
        ("cancelled", 1, True, 1, 1, None),
        ("cancelled", 1, True, 2, 1, "2 moves of an alias"),
        ("cancelled", 0, False, 1, 0, "1 moves of an alias"),
        ("cancelled", 0, False, 0, 1, "1 evaluations"),
        ("cancelled", 2, True, 1, 1, "2 registered versions"),
        ("failed", 1, False, 0, 0, "1 registered versions"),
        ("failed", 1, True, 0, 0, None),
    ],
)
def test_a_job_that_promotes_moves_its_alias_once_or_was_cancelled_before(
    status: JobStatus, versions: int, named: bool, moves: int, evaluations: int, fault: str | None
) -> None:
    told: list[Told] = [*SOUND[:-1], (status, 2)]
    made = {"versions": versions, "moves": moves, "evaluations": evaluations}
    judged = book(told, status=status, named=named, spec=PROMOTES, **made)
    found = judged.faults(save_every=1)
    assert len(found) == (1 if fault else 0), found
    assert fault is None or fault in found[0]


def test_a_job_that_promotes_nothing_moves_no_alias() -> None:
    [fault] = book(SOUND, moves=1).faults(save_every=1)
    assert "1 moves of an alias" in fault


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
    return Leaks("it", psutil.Process, memory_mib=memory_mib, descriptors=descriptors)


@pytest.mark.parametrize(
    ("memory_mib", "descriptors", "fault"),
    [
        ([80.0, 100.0, 100.0, 100.0, 100.0, 109.0], [20] * 6, None),
        ([80.0, 100.0, 100.0, 100.0, 120.0, 120.0], [20] * 6, "memory grew to 1.20 times, by 20 MiB"),
        ([5.0, 10.0, 10.0, 10.0, 15.0, 15.0], [20] * 6, None),
        ([100.0] * 6, [20, 20, 20, 20, 30, 30], "10 more file descriptors"),
        ([100.0] * 5, [20] * 5, "only 5 looks"),
    ],
)
def test_what_grows_is_seen(memory_mib: list[float], descriptors: list[int], fault: str | None) -> None:
    assert [text.partition(": ")[2] for text in leaks(memory_mib, descriptors).faults()] == ([fault] if fault else [])


def test_descriptors_that_are_its_clients_are_no_leak_of_a_process() -> None:
    descriptors = [20, 20, 20, 20, 30, 30]
    assert leaks([100.0] * 6, descriptors).faults() != []
    watched = Leaks("it", psutil.Process, memory_mib=[100.0] * 6, descriptors=descriptors, counts_descriptors=False)
    assert watched.faults() == []


def test_a_process_that_another_takes_the_place_of_is_looked_at_again() -> None:
    found = [psutil.NoSuchProcess(0), psutil.Process()]

    def present() -> psutil.Process:
        one = found.pop(0)
        if isinstance(one, psutil.Error):
            raise one
        return one

    watched = Leaks("it", present)
    watched.look()
    assert watched.memory_mib == []
    watched.look()
    assert len(watched.memory_mib) == len(watched.descriptors) == 1
