"""Own encoded examples that lie on disk: written one after the other, read by their places, held by nobody as a whole.

The file is gone from its folder as soon as it is open: what is mapped stays until the process ends, however it ends.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from rlt_train.data import Example
from rlt_train.durable import make_folder

ROWS_AT_A_TIME = 256
TOKENS = pa.list_(pa.int32())
SCHEMA = pa.schema({"input_ids": TOKENS, "labels": TOKENS})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleFile:
    """Examples as a dataset of the columns `input_ids` and `labels`, and the length of each in tokens."""

    dataset: Dataset
    lengths: "array[int]"


def write_examples(examples: Iterable[Example], path: Path) -> ExampleFile:
    """Write examples to a new file and open it; raises OSError where the disk is full."""
    lengths = array("I")
    make_folder(path.parent)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA) as writer:
        for some in _batched(examples):
            lengths.extend(len(example.token_ids) for example in some)
            columns = {"input_ids": [one.token_ids for one in some], "labels": [one.labels for one in some]}
            writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
    dataset = Dataset.from_file(str(path))
    path.unlink()
    return ExampleFile(dataset=dataset, lengths=lengths)


def _batched(examples: Iterable[Example]) -> Iterator[list[Example]]:
    remaining = iter(examples)
    while some := list(islice(remaining, ROWS_AT_A_TIME)):
        yield some
