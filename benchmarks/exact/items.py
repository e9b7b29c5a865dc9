"""The 500 items of `make exact`: questions with their worked solutions as explanations, of mixed length."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlt_core.formats import ExplanationPiece
from rlt_core.tokens import EncodedSequence, SequenceCodec

SOURCES = ("gsm8k_test.jsonl", "aqua_dev.jsonl", "countdown_train.jsonl")
SEED = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A row of the data and what the student reads of it."""

    id: str
    sequence: EncodedSequence

    @property
    def start(self) -> int:
        """First wanted position: the explanation's first token."""
        return self.sequence.explanation.start


def read_items(folder: Path, *, codec: SequenceCodec, count: int) -> list[Item]:
    """Draw `count` rows of all sources, the same for the same count; raises FileNotFoundError without the data."""
    return [_item(row, codec) for row in _draw(folder, count)]


def read_questions(folder: Path, *, count: int) -> list[tuple[str, str]]:
    """Draw the rows of `read_items` as questions and solutions."""
    return [(row["question"], _solution(row)) for row in _draw(folder, count)]


def lengths(items: Sequence[Item]) -> tuple[int, int]:
    """Give the shortest and the longest sequence, in tokens."""
    found = [len(item.sequence.token_ids) for item in items]
    return min(found), max(found)


def _item(row: dict[str, str], codec: SequenceCodec) -> Item:
    sequence = codec.student_sequence(
        question=row["question"],
        solution=_solution(row),
        explanation=ExplanationPiece(text=row["solution"]),
    )
    return Item(id=row["id"], sequence=sequence)


def _draw(folder: Path, count: int) -> list[dict[str, str]]:
    rows = [json.loads(line) for name in SOURCES for line in (folder / name).read_text("utf-8").splitlines()]
    return random.Random(SEED).sample(rows, k=count)


def _solution(row: dict[str, str]) -> str:
    return f"The answer is {row['answer']}."
