"""Own the way from a dataset file to what each kind of job trains on. Ids come from the codec, never from TRL."""

# Every sequence is encoded in segments; `start` is where the part that carries loss begins.

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlt_core.formats import ExplanationPiece
from rlt_core.row_files import open_rows
from rlt_core.schemas.base import Role
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.trainer import TrainerJob
from rlt_core.splits import SplitRows, split_rows
from rlt_core.tokens import SequenceCodec
from rlt_core.traces import SupervisedKind, missing_trace, trace_of
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.row_lines import read_row

IGNORED = -100
"""Label of a position without loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One sequence with its labels [same length]."""

    token_ids: tuple[int, ...]
    labels: tuple[int, ...]


class Examples:
    """The sequences that supervised fine-tuning trains on, encoded while they are gone through, once.

    Iterating raises InvalidTrainingDataError at the end, when every row was longer than `max_tokens`.
    """

    def __init__(
        self, rows: Sequence[DatasetRow], *, role: Role, codec: SequenceCodec, max_tokens: int, kind: SupervisedKind
    ) -> None:
        self._rows = rows
        self._encode = codec.teacher_sequence if role == "teacher" else codec.student_sequence
        self._max_tokens = max_tokens
        self._kind: SupervisedKind = kind
        self.dropped = 0
        """Rows that were too long, of those gone through so far."""

    def __iter__(self) -> Iterator[Example]:  # noqa: D105 - as the class says
        self.dropped = 0
        for row in self._rows:
            piece = ExplanationPiece(text=trace_of(row, kind=self._kind) or "")
            sequence = self._encode(question=row.question, solution=row.solution, explanation=piece)
            if len(sequence.token_ids) <= self._max_tokens:
                yield _with_loss_from(sequence.token_ids, start=sequence.explanation.start)
            else:
                self.dropped += 1
        if self.dropped == len(self._rows):
            raise InvalidTrainingDataError(
                f"all {self.dropped} rows are longer than max_tokens = {self._max_tokens}: raise it",
                param="/max_tokens",
            )


def load_splits(job: TrainerJob) -> SplitRows:
    """Open the job's dataset and divide it as the spec says; a line that is no row raises InvalidTrainingDataError."""
    held_out = {name: open_rows(Path(path), read=read_row) for name, path in job.split_paths.items()}
    rows = open_rows(Path(job.dataset_path), read=read_row)
    parts = split_rows(rows, splits=job.training.splits, seed=job.training.seed, held_out=held_out)
    if not parts.train:
        raise InvalidTrainingDataError(f"the dataset has {len(rows)} rows, of which none is left to train on")
    return parts


def warmup_examples(
    rows: Sequence[DatasetRow], *, role: Role, codec: SequenceCodec, max_tokens: int, kind: SupervisedKind = "warmup"
) -> Examples:
    """Encode rows for supervised fine-tuning; the row's trace for this kind stands as the explanation.

    Teacher: loss on the explanation and its closing tag. Student: loss on thought, tags between, solution, closing
    tag. Raises InvalidTrainingDataError for a row without a trace.
    """
    missing = missing_trace(rows, kind=kind)
    if missing is not None:
        raise InvalidTrainingDataError(missing, param="/dataset")
    return Examples(rows, role=role, codec=codec, max_tokens=max_tokens, kind=kind)


def with_filler(examples: Iterable[Example]) -> Iterator[Example]:
    """Give the examples, and after them the shortest once more, with no label anywhere."""
    shortest: Example | None = None
    for example in examples:
        if shortest is None or len(example.token_ids) < len(shortest.token_ids):
            shortest = example
        yield example
    if shortest is not None:
        yield without_loss(shortest)


def without_loss(example: Example) -> Example:
    """Give the same sequence with no label anywhere."""
    return Example(token_ids=example.token_ids, labels=(IGNORED,) * len(example.labels))


def _with_loss_from(token_ids: tuple[int, ...], *, start: int) -> Example:
    labels = (IGNORED,) * start + token_ids[start:]
    return Example(token_ids=token_ids, labels=labels)
