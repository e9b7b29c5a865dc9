"""Examples on disk are those that were written, and leave no file behind."""

from pathlib import Path

import pytest

from rlt_train.data import IGNORED, Example, with_filler
from rlt_train.example_file import ROWS_AT_A_TIME, write_examples

pytestmark = pytest.mark.training

EXAMPLES = [
    Example(token_ids=tuple(range(length)), labels=(IGNORED, *range(1, length)))
    for length in (3, 2, 5) * ROWS_AT_A_TIME
]


def test_examples_come_back_as_they_were_written_and_their_file_is_gone(tmp_path: Path) -> None:
    found = write_examples(iter(EXAMPLES), tmp_path / "new" / "examples.arrow")
    assert list((tmp_path / "new").iterdir()) == []
    assert len(found.dataset) == len(EXAMPLES)
    assert list(found.lengths) == [len(example.token_ids) for example in EXAMPLES]
    for number in (0, 1, ROWS_AT_A_TIME, len(EXAMPLES) - 1):
        row = found.dataset[number]
        assert (tuple(row["input_ids"]), tuple(row["labels"])) == (
            EXAMPLES[number].token_ids,
            EXAMPLES[number].labels,
        )


def test_the_filler_is_the_shortest_example_without_any_label() -> None:
    *examples, filler = with_filler(EXAMPLES[:3])
    assert examples == EXAMPLES[:3]
    assert filler == Example(token_ids=EXAMPLES[1].token_ids, labels=(IGNORED, IGNORED))
