"""Own the form in which an evaluate's answers lie on disk: a line a question, whole or not there."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, ValidationError

from rlt_core.schemas.base import WireModel
from rlt_core.schemas.measured import AnswerRow
from rlt_core.schemas.teachers import EvaluationRow

FOLDER = "evaluated"
"""In an attempt's folder."""


class MeasuredQuestion(WireModel):
    """All that one version answered to one question."""

    position: int
    """In the dataset, from 0."""
    question_id: str
    version: str
    engine: str
    answers: list[AnswerRow] = Field(default_factory=list[AnswerRow])
    """Of a student."""
    explained: list[EvaluationRow] = Field(default_factory=list[EvaluationRow])
    """Of a teacher."""
    spent: dict[str, float] = Field(default_factory=dict[str, float])
    """Tokens and seconds."""


def file_name(place: int) -> str:
    """Name the file of the spec's model at `place`, from 0."""
    return f"model-{place}.jsonl"


def read_questions(path: Path) -> Iterator[MeasuredQuestion]:
    """Give the questions of a file; a line that is no whole one is passed over, as is a file that is not there.

    Raises OSError for one that cannot be read.
    """
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            try:
                yield MeasuredQuestion.model_validate_json(line)
            except ValidationError:
                continue
