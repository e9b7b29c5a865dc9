"""Own the way from a dataset file to what each kind of job trains on. Ids come from the codec, never from TRL."""

# Every sequence is encoded in segments; `start` is where the part that carries loss begins.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlt_core.formats import ExplanationPiece
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """What supervised fine-tuning trains on, and how many rows were too long for it."""

    kept: tuple[Example, ...]
    dropped: int


def read_rows(path: Path) -> list[DatasetRow]:
    """Read JSONL rows; a row without an id gets its line number. Raises InvalidTrainingDataError naming the line."""
    with path.open(encoding="utf-8") as file:
        return [read_row(line, number=number) for number, line in enumerate(file, start=1)]


def load_splits(job: TrainerJob) -> SplitRows:
    """Read the job's dataset and divide it as the spec says."""
    held_out = {name: read_rows(Path(path)) for name, path in job.split_paths.items()}
    rows = read_rows(Path(job.dataset_path))
    parts = split_rows(rows, splits=job.training.splits, seed=job.training.seed, held_out=held_out)
    if not parts.train:
        raise InvalidTrainingDataError(f"the dataset has {len(rows)} rows, of which none is left to train on")
    return parts


def warmup_examples(
    rows: Sequence[DatasetRow], *, role: Role, codec: SequenceCodec, max_tokens: int, kind: SupervisedKind = "warmup"
) -> Examples:
    """Encode rows for supervised fine-tuning; the row's trace for this kind stands as the explanation.

    Teacher: loss on the explanation and its closing tag. Student: loss on thought, tags between, solution, closing
    tag. Raises InvalidTrainingDataError for a row without a trace, or when every row is longer than `max_tokens`.
    """
    missing = missing_trace(rows, kind=kind)
    if missing is not None:
        raise InvalidTrainingDataError(missing, param="/dataset")
    kept: list[Example] = []
    for row in rows:
        piece = ExplanationPiece(text=trace_of(row, kind=kind) or "")
        encode = codec.teacher_sequence if role == "teacher" else codec.student_sequence
        sequence = encode(question=row.question, solution=row.solution, explanation=piece)
        if len(sequence.token_ids) <= max_tokens:
            kept.append(_with_loss_from(sequence.token_ids, start=sequence.explanation.start))
    if not kept:
        raise InvalidTrainingDataError(
            f"all {len(rows)} rows are longer than max_tokens = {max_tokens}: raise it", param="/max_tokens"
        )
    return Examples(kept=tuple(kept), dropped=len(rows) - len(kept))


def without_loss(example: Example) -> Example:
    """Give the same sequence with no label anywhere."""
    return Example(token_ids=example.token_ids, labels=(IGNORED,) * len(example.labels))


def _with_loss_from(token_ids: tuple[int, ...], *, start: int) -> Example:
    labels = (IGNORED,) * start + token_ids[start:]
    return Example(token_ids=token_ids, labels=labels)
