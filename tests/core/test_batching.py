import pytest

from rlt_core import batching
from rlt_core.batching import epoch_steps, micro_batch_rows, passed_tokens


@pytest.mark.parametrize(
    ("rows", "tokens", "fitting"),
    [(32, 100, 32), (32, 200, 16), (32, 4096, 1), (32, 9999, 1), (30, 300, 10)],  # 4096 / 300 = 13.6; 10 divides 30
)
def test_a_pass_holds_the_largest_divisor_that_fits(rows: int, tokens: int, fitting: int) -> None:
    assert batching.MICRO_BATCH_TOKENS == 4096
    assert micro_batch_rows(rows, tokens_per_row=tokens) == fitting


@pytest.mark.parametrize(
    ("rows", "batch", "epochs", "most", "steps"),
    [(10, 8, 1.0, None, 2), (10, 8, 2.5, None, 5), (10, 8, 2.5, 3, 3), (3, 3, 0.1, None, 1)],
)
def test_steps_count_whole_batches_of_whole_epochs(
    rows: int, batch: int, epochs: float, most: int | None, steps: int
) -> None:
    assert epoch_steps(rows=rows, batch=batch, epochs=epochs, max_steps=most) == steps


def test_a_shared_prompt_is_borne_by_all_its_samples() -> None:
    assert passed_tokens(longest_prompt=101, max_tokens=50, samples=4, shares=True) == 76  # 50 + ceil(101 / 4)
    assert passed_tokens(longest_prompt=101, max_tokens=50, samples=4, shares=False) == 151
