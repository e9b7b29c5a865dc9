"""How often and how many at once a key may call."""

from datetime import UTC, datetime

import pytest

from rlt_core.errors import RateLimitedError
from rlt_service.access.limits import KeyLimits
from rlt_service.store.keys import Key
from rlt_service.store.ownership import Viewer


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def key(id_: str = "0" * 12, *, max_per_minute: int | None = None, max_at_once: int | None = None) -> Key:
    return Key(
        id=id_,
        name="ann",
        sha256="0" * 64,
        scopes=("explain",),
        max_per_minute=max_per_minute,
        max_at_once=max_at_once,
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
        revoked_at=None,
        viewer=Viewer(key=id_, sees_all=False),
    )


def test_a_bucket_fills_at_its_rate_and_holds_a_minutes_worth() -> None:
    clock = Clock()
    limits, ann = KeyLimits(clock=clock), key(max_per_minute=2)
    for _ in range(2):
        limits.enter(ann)
        limits.leave(ann)
    with pytest.raises(RateLimitedError, match="2 times a minute") as caught:
        limits.enter(ann)
    assert caught.value.retry_after_s == 30
    clock.now_s += 29.0
    with pytest.raises(RateLimitedError) as caught:
        limits.enter(ann)
    assert caught.value.retry_after_s == 1
    clock.now_s += 1.0
    limits.enter(ann)
    clock.now_s += 3600.0
    for _ in range(2):
        limits.enter(ann)
    with pytest.raises(RateLimitedError):
        limits.enter(ann)


def test_a_call_that_was_refused_takes_no_room() -> None:
    limits, ann = KeyLimits(clock=Clock()), key(max_at_once=1)
    limits.enter(ann)
    for _ in range(3):
        with pytest.raises(RateLimitedError, match="1 calls running"):
            limits.enter(ann)
    limits.leave(ann)
    limits.enter(ann)


def test_one_keys_calls_are_not_counted_for_another() -> None:
    limits = KeyLimits(clock=Clock())
    limits.enter(key("a" * 12, max_at_once=1, max_per_minute=1))
    limits.enter(key("b" * 12, max_at_once=1, max_per_minute=1))
