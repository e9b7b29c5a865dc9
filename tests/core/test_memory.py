from dataclasses import replace

import pytest

from rlt_core.memory import MemoryNeed, Training, fitting_rows, memory_need, refusal, size
from rlt_core.model_shape import ModelShape

SHAPE = ModelShape(width=8, layers=2, query_width=8, key_width=4, inner_width=16, vocabulary=32, tied=True)
PLAIN = Training(
    shape=SHAPE,
    adapter_parameters=100,
    accelerated=False,
    reference=True,
    recomputes=False,
    pass_tokens=10,
    logit_tokens=5,
    attended=3,
)


def test_each_part_is_the_product_that_its_name_says() -> None:
    need = memory_need(PLAIN)
    # 32*8 of the table, two layers of 2*8*8 + 2*8*4 + 3*8*16 + 2*8, a last norm of 8: 1448 weights of 4 B.
    assert need.weights == 1448 * 4
    assert (need.adapter, need.gradients, need.optimizer, need.reference) == (400, 400, 800, 400)
    # Two layers of 4*8 + 4*8 + 4*16 = 128 numbers a token, and 3 of the mask.
    assert need.activations == 10 * 262 * 4
    assert need.logits == 5 * 32 * 16
    assert need.passing == 10_480 + 2560
    assert need.total == 5792 + 2000 + 10_480 + 2560
    assert "activations 10.5 kB (10 tokens x 262 x 4 B)" in need.arithmetic


def test_all_weights_are_trained_in_four_bytes_with_two_gradients_and_two_moments() -> None:
    need = memory_need(replace(PLAIN, full=True, accelerated=True, adapter_parameters=0, reference=False))
    assert need.weights == 1448 * 4
    assert (need.adapter, need.gradients, need.optimizer, need.reference) == (0, 1448 * 8, 1448 * 8, 0)
    assert need.activations == 10 * 262 * 2
    assert "their gradients (twice) and AdamW 23.2 kB (1,448 x 16 B)" in need.arithmetic


def smaller(rows: int) -> MemoryNeed:
    return memory_need(replace(PLAIN, pass_tokens=10 * rows, logit_tokens=5 * rows))


@pytest.mark.parametrize(("short", "rows"), [(0, 8), (1, 4)])
def test_passes_are_halved_until_they_fit(short: int, rows: int) -> None:
    assert fitting_rows(smaller, rows=8, has=smaller(8).total - short) == rows


def test_where_not_even_one_row_fits_there_is_no_size() -> None:
    least = smaller(1)
    assert fitting_rows(smaller, rows=6, has=least.total) == 1  # 6, 3, 1
    assert fitting_rows(smaller, rows=6, has=least.total - 1) is None
    said = refusal(least, has=1000, where="this machine")
    assert said.startswith("training takes about 20.8 kB even with one row at a time, this machine has 1 kB: weights")


def test_bytes_are_written_for_people() -> None:
    assert [size(999), size(1000), size(13_312), size(2.5e9)] == ["999 B", "1 kB", "13.3 kB", "2.5 GB"]
