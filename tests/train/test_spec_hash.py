"""The name of what a spec asks for outlasts how its fields are declared."""

import json
from typing import Any

import pytest

from rlt_core.schemas.jobs import JOB_SPEC
from rlt_train.spec_hash import spec_sha256

RL: dict[str, Any] = {
    **{"kind": "rl", "dataset": "ds_1", "target_name": "tiny", "seed": 3, "not_before": "2026-01-01T00:00:00Z"},
    **{"lora": {"rank": 4, "alpha": 8.0}, "teacher": "algebra@1", "student": ["a@1", "b@1"]},
    **{"student_reduction": "worst", "steps": 7, "learning_rate": 1e-5, "beta": 0.0, "max_tokens": 64},
    **{"reward": {"kl_mean": 0.3}, "max_staleness": 1, "save_every": 2, "eval_every": 2, "splits": {"select": 0.2}},
    "promote": {"alias": "new", "when": "always"},
}
FIRST_WRITTEN = "57e40e45aefa8ee8019a0bcf16d6e374b8abd95d7c3b92c1cce8633f350557ab"
"""Of RL, as the first checkpoints of such a job have it: SHA-256 of its JSON with the fields in that order."""


def hashed(spec: dict[str, Any]) -> str:
    return spec_sha256(JOB_SPEC.validate_json(json.dumps(spec)))


def test_a_checkpoint_that_was_written_before_is_of_the_same_spec_still() -> None:
    assert hashed(RL) == FIRST_WRITTEN
    assert hashed(dict(reversed(RL.items()))) == FIRST_WRITTEN


@pytest.mark.parametrize("kind", ["rl", "rlvr"])
def test_what_is_said_and_is_the_default_changes_nothing_and_all_else_does(kind: str) -> None:
    spec = {"kind": kind, "dataset": "ds_1", "target_name": "tiny"}
    assert hashed(spec | {"steps": 10, "student": "default"}) == hashed(spec)
    assert hashed(spec | {"steps": 11}) != hashed(spec)
