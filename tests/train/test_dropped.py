"""Which errors cost a rollout, and which end the job; how many may be left out."""

from collections.abc import Sequence

import pytest

from rlt_client import APIConnectionError, APIStatusError
from rlt_core.errors import EngineUnavailableError, ModelNotFoundError, PromptTooLongError, RltError, ScoringError
from rlt_core.job_errors import job_code
from rlt_core.schemas.datasets import DatasetRow
from rlt_train.dropped import DroppedRollouts, one_by_one
from rlt_train.errors import RolloutMismatchError, RolloutsDroppedError

ROW = DatasetRow(id="r1", question="q", solution="s")


@pytest.mark.parametrize("error", [ScoringError("nan"), PromptTooLongError("long")], ids=type)
def test_what_fails_together_is_asked_for_one_by_one(error: RltError) -> None:
    calls: list[list[int]] = []

    def ask(items: Sequence[int]) -> list[str]:
        calls.append(list(items))
        if 2 in items:
            raise error
        return [str(item) for item in items]

    assert one_by_one([1, 2, 3], ask=ask) == ["1", error, "3"]
    assert calls == [[1, 2, 3], [1], [2], [3]]


def test_what_succeeds_together_is_asked_for_once() -> None:
    calls: list[int] = []

    def ask(items: Sequence[int]) -> list[int]:
        calls.append(len(items))
        return list(items)

    assert one_by_one([1, 2, 3], ask=ask) == [1, 2, 3]
    assert one_by_one([], ask=ask) == []
    assert calls == [3]


@pytest.mark.parametrize(
    "error",
    [
        RolloutMismatchError("another version"),
        EngineUnavailableError("gone"),
        ModelNotFoundError("no such policy"),
        APIConnectionError("nobody there"),
        APIStatusError("no key", status=401, code="unauthenticated"),
        APIStatusError("slow", status=504, code="deadline_exceeded"),
    ],
    ids=type,
)
def test_what_is_no_rollouts_own_fault_is_raised(error: RltError) -> None:
    def ask(items: Sequence[int]) -> list[int]:
        raise error

    with pytest.raises(type(error)):
        one_by_one([1, 2], ask=ask)


def test_as_many_as_may_be_are_left_out_and_said_and_one_more_ends_it() -> None:
    said: list[str] = []
    dropped = DroppedRollouts(allowed=4, report=said.append)
    dropped.add(ScoringError("nan"), row=ROW, size=1)
    assert dropped.without(ScoringError("gone"), row=ROW, size=3) == []
    assert dropped.without(["kept"], row=ROW, size=3) == ["kept"]
    assert said == [
        "a rollout of r1 failed for good and is left out: nan",
        "all 3 rollouts of r1 failed for good and are left out: gone",
    ]
    with pytest.raises(RolloutsDroppedError, match=r"5 rollouts .* at most 4 .* the last: no room"):
        dropped.add(PromptTooLongError("no room"), row=ROW, size=1)
    assert len(said) == 2


def test_where_none_may_be_left_out_the_failure_is_raised_as_it_is() -> None:
    with pytest.raises(ScoringError, match="nan"):
        DroppedRollouts(allowed=0, report=print).add(ScoringError("nan"), row=ROW, size=1)


@pytest.mark.parametrize(
    ("cause", "code", "retryable"),
    [(ScoringError("nan"), "service_failed", True), (PromptTooLongError("long"), "invalid", False)],
    ids=type,
)
def test_a_job_that_ends_so_fails_as_the_last_failure_would(cause: RltError, code: str, retryable: bool) -> None:
    with pytest.raises(RolloutsDroppedError) as raised:
        DroppedRollouts(allowed=1, report=print).add(cause, row=ROW, size=2)
    assert job_code(raised.value.code, status=raised.value.status) == code
    assert raised.value.retryable is retryable
