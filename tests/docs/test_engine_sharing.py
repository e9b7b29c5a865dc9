"""How the real tests are shared out: which files go together, and which cores each process keeps."""

from pathlib import Path

import pytest

from tests.support.engine_sharing import SHARED, own_share, unit_of

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("file", "unit"),
    [
        ("engine/test_vllm_scores.py", "engine"),
        ("engine/test_engine_contract.py", "engine"),  # by the name of its parameter
        ("real/test_two_tokenizers.py", "engine"),
        ("real/test_loop.py", "server"),
        ("real/test_plain_rl_step.py", "server"),  # through a fixture of its own
    ],
)
def test_files_that_share_an_engine_go_together(file: str, unit: str) -> None:
    assert unit in SHARED
    assert unit_of(TESTS / file) == unit


@pytest.mark.parametrize("file", ["engine/test_vllm_processes.py", "real/test_drain.py"])
def test_files_with_engines_of_their_own_are_handed_out_alone(file: str) -> None:
    assert unit_of(TESTS / file) == str(TESTS / file)


@pytest.mark.parametrize(
    ("cores", "count", "shares"),
    [
        ([0, 1], 1, [[0, 1]]),
        ([0, 1], 2, [[0], [1]]),
        ([4, 5, 6], 2, [[4], [5, 6]]),
        ([3], 2, [[3], [3]]),
    ],
)
def test_processes_keep_to_cores_that_no_other_has_where_there_are_enough(
    cores: list[int], count: int, shares: list[list[int]]
) -> None:
    assert [list(own_share(cores, number=number, count=count)) for number in range(count)] == shares
