"""What tells a resumed run from an unbroken one."""

from typing import Any

import pytest
import torch

from benchmarks.reliability.resumes import Final, differences


def final(**changes: Any) -> Final:
    states = {
        "optimizer": {"state": {0: {"exp_avg": torch.tensor([1.0, 2.0])}}, "groups": [{"lr": 0.1}]},
        "torch": torch.tensor([7], dtype=torch.uint8),
        "epoch": 1.5,
        "cursor": {"epoch": 1, "rows": 8, "order": "a" * 64},
    }
    return Final(adapter_sha256="0" * 64, states=states | changes)


def test_the_same_bits_are_no_difference() -> None:
    assert differences(final(), final()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cursor": {"epoch": 1, "rows": 8, "order": "b" * 64}}, "another /cursor/order"),
        ({"epoch": 1.0}, "another /epoch"),
        ({"torch": torch.tensor([8], dtype=torch.uint8)}, "another /torch"),
        ({"optimizer": {"state": {}, "groups": [{"lr": 0.1}]}}, "other parts of /optimizer/state: 0"),
        ({"more": 1}, "other parts of the states: more"),
    ],
)
def test_another_order_of_rows_or_another_state_is_a_difference(changes: dict[str, Any], said: str) -> None:
    assert differences(final(**changes), final()) == [said]


def test_other_weights_are_a_difference() -> None:
    other = Final(adapter_sha256="1" * 64, states=final().states)
    assert differences(other, final()) == ["other weights"]
