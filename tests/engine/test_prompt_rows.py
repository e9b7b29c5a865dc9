import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlt_service.engine.prompt_rows import ScoringParameters, scoring_parameters, target_logprobs, wanted_rows


def test_logprob_is_that_of_the_logits_divided_by_the_temperature() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]])
    got = target_logprobs(logits, targets_R=torch.tensor([1, 1]), temperatures_R=torch.tensor([1.0, 0.5]))
    # odds 3:1 at temperature 1, 9:1 at temperature 0.5
    assert got.tolist() == pytest.approx([math.log(3 / 4), math.log(9 / 10)])


def test_logprob_of_huge_logits_stays_finite() -> None:
    got = target_logprobs(torch.tensor([[1e4, 0.0]]), targets_R=torch.tensor([1]), temperatures_R=torch.tensor([0.7]))
    assert got.tolist() == pytest.approx([-1e4 / 0.7])


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits = torch.zeros(1, 4096, dtype=torch.bfloat16)
    got = target_logprobs(logits, targets_R=torch.tensor([7]), temperatures_R=torch.tensor([0.7]))
    assert got.tolist() == pytest.approx([-math.log(4096)], abs=1e-5)


def test_first_wanted_row_is_the_one_before_the_start_and_the_last_predicts_the_last_token() -> None:
    assert wanted_rows(computed=0, scheduled=10, start=4, length=10) == range(3, 9)


def test_step_before_the_start_wants_nothing() -> None:
    assert not wanted_rows(computed=0, scheduled=3, start=4, length=10)


@given(length=st.integers(2, 40), start=st.integers(1, 39), cuts=st.sets(st.integers(1, 39)), cached=st.integers(0, 39))
def test_steps_cut_anywhere_want_every_row_exactly_once(length: int, start: int, cuts: set[int], cached: int) -> None:
    start = min(start, length - 1)
    cached = min(cached, start - 1)
    borders = sorted({cached, *(cut for cut in cuts if cached < cut < length), length})
    rows = [
        row
        for begin, end in pairwise(borders)
        for row in wanted_rows(computed=begin, scheduled=end - begin, start=start, length=length)
    ]
    assert rows == list(range(start - 1, length - 1))


def test_parameters_survive_the_way_to_the_worker() -> None:
    parameters = ScoringParameters(start=3, temperature=0.7)
    assert scoring_parameters(parameters.as_extra_args()) == parameters


@pytest.mark.parametrize("extra", [None, {}, {"other": 1}])
def test_request_of_someone_else_has_no_parameters(extra: dict[str, int] | None) -> None:
    assert scoring_parameters(extra) is None
