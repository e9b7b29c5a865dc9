"""A contender of `make bench-score` that finds something else than our engine is seen."""

import math

import pytest

from benchmarks.score.checks import COMPARED, all_agree, figures_of, largest_difference
from benchmarks.score.contenders import CONTENDERS, Contender
from benchmarks.score.workloads import Item

# Two tokens of an explanation, one of a tag between, two of a solution.
ITEM = Item(token_ids=tuple(range(9)), explanation_start=4, explanation_end=6, solution_start=7, solution_end=9)
OURS = [[-0.5, -1.5, -9.0, -2.0, -4.0], [-1.0, -1.0, -1.0, -1.0, -3.0]]


def largest(contender: Contender, found: list[list[float]]) -> float:
    return largest_difference(contender, found, ours=OURS, items=[ITEM, ITEM])


def test_every_contender_but_ours_is_compared() -> None:
    assert {"ours_in_process", *COMPARED} == set(CONTENDERS)


@pytest.mark.parametrize(
    ("contender", "found"),
    [
        ("vllm_plain", OURS),
        ("ours_fast_rss_only", [[-2.0, -4.0], [-1.0, -3.0]]),
        # By hand: mean and least of the solution; given log-probs are -1, so the divergences are -0.5 and 0.5, 0 and 0.
        ("ours_http", [[-3.0, -4.0, 0.0, 0.5], [-2.0, -3.0, 0.0, 0.0]]),
    ],
)
def test_what_is_the_same_is_no_difference(contender: Contender, found: list[list[float]]) -> None:
    assert largest(contender, found) == pytest.approx(0.0, abs=1e-12)


def test_the_largest_difference_of_any_token_counts() -> None:
    assert largest("one_at_a_time", [OURS[0], [-1.0, -1.25, -1.0, -1.0, -2.5]]) == pytest.approx(0.5)


def test_a_sample_is_compared_by_what_is_there() -> None:
    assert largest("transformers_batched", [[-0.5, -1.5, -9.0, -2.0, -4.0]]) == 0.0


@pytest.mark.parametrize("found", [[], [OURS[0][1:], OURS[1]], [[-0.5, math.nan, -9.0, -2.0, -4.0]]])
def test_what_is_missing_or_no_number_is_as_far_off_as_can_be(found: list[list[float]]) -> None:
    assert largest("ours_fast", found) == math.inf


def test_the_largest_of_all_repeats_is_told_and_one_that_is_off_spoils_the_run() -> None:
    row = {"workload": "g8", "contender": "ours_fast", "compared": "tokens at 0.7", "largest_difference": 1e-5}
    rows = [row, row | {"largest_difference": 2e-4}, row]
    assert figures_of(rows)["g8"]["ours_fast"] == {"compared": "tokens at 0.7", "largest_difference": 2e-4}
    assert all_agree(rows)
    assert not all_agree([*rows, row | {"largest_difference": 0.1}])
