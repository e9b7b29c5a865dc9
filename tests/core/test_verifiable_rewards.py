"""The reward of a student's own answers: what is right is worth something, what never ends costs something."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rlt_core.schemas.jobs import JOB_SPEC, RlvrSpec, VerifiableReward
from rlt_core.verifiable_rewards import VerifiableBreakdown, VerifiableWeights, reward_solution

WEIGHTS = st.builds(
    VerifiableWeights,
    right=st.floats(min_value=1e-3, max_value=1e3),
    format_penalty=st.floats(min_value=-1e3, max_value=0.0),
)
OUTCOMES = ((True, True), (False, True), (False, False))


@pytest.mark.parametrize(
    ("right", "closed", "worth"),
    [
        (True, True, VerifiableBreakdown(reward=1.0, correctness=1.0, format=0.0)),
        (False, True, VerifiableBreakdown(reward=0.0, correctness=0.0, format=0.0)),
        (False, False, VerifiableBreakdown(reward=-1.0, correctness=0.0, format=-1.0)),
    ],
)
def test_right_is_worth_one_wrong_nothing_and_no_end_costs_one(
    right: bool, closed: bool, worth: VerifiableBreakdown
) -> None:
    assert reward_solution(right=right, closed=closed, weights=VerifiableWeights()) == worth


@given(WEIGHTS)
def test_right_is_worth_more_than_wrong_and_wrong_no_less_than_what_never_ends(weights: VerifiableWeights) -> None:
    best, wrong, endless = (reward_solution(right=r, closed=c, weights=weights).reward for r, c in OUTCOMES)
    assert best > wrong >= endless


@given(st.sampled_from(OUTCOMES), WEIGHTS)
def test_the_reward_is_the_sum_of_its_parts(outcome: tuple[bool, bool], weights: VerifiableWeights) -> None:
    right, closed = outcome
    found = reward_solution(right=right, closed=closed, weights=weights)
    assert found.reward == found.correctness + found.format
    assert found.correctness in (0.0, weights.right)
    assert found.format in (0.0, weights.format_penalty)


def test_what_was_never_closed_cannot_be_right() -> None:
    with pytest.raises(ValueError, match="never closed"):
        reward_solution(right=True, closed=False, weights=VerifiableWeights())


def test_the_wire_type_has_the_defaults_of_the_maths_and_refuses_what_rewards_the_wrong() -> None:
    assert VerifiableReward().to_weights() == VerifiableWeights()
    for wrong in ({"right": 0.0}, {"format_penalty": 0.5}, {"right": float("nan")}):
        with pytest.raises(ValidationError):
            VerifiableReward.model_validate(wrong)


def test_the_ready_spec_is_one_that_is_taken() -> None:
    path = Path(__file__).parents[2] / "examples" / "specs" / "rlvr_countdown.json"
    spec = JOB_SPEC.validate_json(path.read_text(encoding="utf-8"))
    assert isinstance(spec, RlvrSpec)
    assert (spec.verdict, spec.role, spec.start) == ("countdown", "student", "default")
