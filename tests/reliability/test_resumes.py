"""What tells a resumed run from an unbroken one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import torch

from benchmarks.reliability.resumes import Final, counted_wrong, differences, steps_told
from benchmarks.reliability.trainer_points import IN_OPTIMIZER_STEP, IN_ROLLOUT, Stand
from rlt_core.schemas.jobs import Job, JobEvent, JobResult, RlSpec, WarmupSpec

AT = datetime(2026, 1, 1, tzinfo=UTC)
STEPS: Mapping[str, list[Any]] = {
    "rollout 0": [{"question_id": "r3", "text": "one", "reward": -1.5}],
    "step 1": [{"loss": 0.25, "reward": -1.0}],
    "step 2": [{"loss": 0.5, "reward": -0.5}],
}


def final(*, steps: Mapping[str, list[Any]] | None = None, **changes: Any) -> Final:
    states = {
        "optimizer": {"state": {0: {"exp_avg": torch.tensor([1.0, 2.0])}}, "groups": [{"lr": 0.1}]},
        "torch": torch.tensor([7], dtype=torch.uint8),
        "epoch": 1.5,
        "cursor": {"epoch": 1, "rows": 8, "order": "a" * 64},
    }
    saved = frozenset(("step 2",))
    return Final(adapter_sha256="0" * 64, states=states | changes, steps=STEPS if steps is None else steps, saved=saved)


def test_the_same_bits_are_no_difference() -> None:
    assert differences(final(), final()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cursor": {"epoch": 1, "rows": 8, "order": "b" * 64}}, "another /cursor/order"),
        ({"epoch": 1.0}, "another /epoch"),
        ({"epoch": "1.5"}, "another /epoch"),
        ({"torch": torch.tensor([8], dtype=torch.uint8)}, "another /torch"),
        ({"torch": [7]}, "another /torch"),
        ({"optimizer": {"state": {}, "groups": [{"lr": 0.1}]}}, "other parts of /optimizer/state: 0"),
        ({"optimizer": {**final().states["optimizer"], "groups": []}}, "0 of /optimizer/groups, not 1"),
        ({"more": 1}, "other parts of the run: more"),
    ],
)
def test_another_order_of_rows_or_another_state_is_a_difference(changes: dict[str, Any], said: str) -> None:
    assert differences(final(**changes), final()) == [said]


def test_what_only_the_unbroken_run_has_is_a_difference_too() -> None:
    assert differences(final(), final(more=1)) == ["other parts of the run: more"]


def test_other_weights_are_a_difference() -> None:
    other = Final(adapter_sha256="1" * 64, states=final().states, steps=STEPS, saved=final().saved)
    assert differences(other, final()) == ["other weights"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rollout 0": [{"question_id": "r4", "text": "one", "reward": -1.5}]}, "another /rollout 0/0/question_id"),
        ({"step 1": [{"loss": 0.2, "reward": -1.0}]}, "another /step 1/0/loss"),
        ({"step 1": [{"loss": 0.25}]}, "other parts of /step 1/0: reward"),
        ({"step 1": [*STEPS["step 1"], {"loss": 0.2, "reward": -1.0}]}, "2 of /step 1, not 1"),
        ({"step 3": [{"loss": 0.1}]}, "other parts of the run: step 3"),
    ],
    ids=["other rows", "other loss", "says less", "otherwise the second time", "a step more"],
)
def test_a_step_that_was_made_otherwise_is_a_difference(changes: dict[str, list[Any]], said: str) -> None:
    assert differences(final(steps={**STEPS, **changes}), final()) == [said]


@pytest.mark.parametrize(
    ("untold", "said"),
    [
        ("step 2", []),
        ("step 1", ["other parts of the run: step 1"]),
        ("rollout 0", ["other parts of the run: rollout 0"]),
    ],
)
def test_a_step_may_stay_untold_only_right_behind_its_checkpoint(untold: str, said: list[str]) -> None:
    told = {name: value for name, value in STEPS.items() if name != untold}
    assert differences(final(steps=told), final()) == said


def event(seq: int, type: str, *, attempt: int = 1, **data: Any) -> JobEvent:
    return JobEvent(seq=seq, job_id="job_1", attempt=attempt, created_at=AT, type=type, data=data)


def test_a_step_that_was_made_twice_in_the_same_way_counts_once_and_times_do_not_count() -> None:
    rollout = {"question_id": "r3", "text": "one", "reward": -1.5}
    said = [
        event(1, "sample", step=0, question="1+1?", **rollout),
        event(2, "progress", step=1, metrics={"loss": 0.25, "train_s": 1.0}),
        event(3, "log", message="goes on after step 0"),
        event(4, "sample", step=0, question="1+1?", **rollout, attempt=2),
        event(5, "progress", step=1, metrics={"loss": 0.25, "train_s": 2.0}, attempt=2),
    ]
    assert steps_told(said) == {"rollout 0": [rollout], "step 1": [{"loss": 0.25}]}
    other = event(6, "progress", step=1, metrics={"loss": 0.2}, attempt=2)
    assert steps_told([*said, other])["step 1"] == [{"loss": 0.25}, {"loss": 0.2}]


def job(*, kind: str = "rl", attempt: int = 2, **cost: float) -> Job:
    shared: dict[str, Any] = {"dataset": "ds_none", "target_name": "algebra"}
    spec = RlSpec(kind="rl", **shared) if kind == "rl" else WarmupSpec(kind="warmup", role="teacher", **shared)
    result = JobResult(teacher="algebra@1", cost=cost)
    return Job(id="job_1", kind=spec.kind, status="succeeded", created_at=AT, attempt=attempt, spec=spec, result=result)


@pytest.mark.parametrize(
    ("ended", "point", "faults"),
    [
        (job(regenerated_steps=1.0), IN_ROLLOUT, 0),
        (job(regenerated_steps=0.0), IN_ROLLOUT, 1),
        (job(), IN_ROLLOUT, 1),
        (job(regenerated_steps=0.0), IN_OPTIMIZER_STEP, 0),
        (job(regenerated_steps=1.0), IN_OPTIMIZER_STEP, 1),
        (job(regenerated_steps=1.0), None, 1),
        (job(regenerated_steps=0.0, attempt=3), IN_ROLLOUT, 0),
        (job(kind="warmup"), None, 0),
    ],
)
def test_a_rollout_that_was_cut_is_counted_as_generated_again_and_no_other_is(
    ended: Job, point: str | None, faults: int
) -> None:
    hit = None if point is None else Stand(point=point, step=2)
    assert len(counted_wrong(ended, hit)) == faults
