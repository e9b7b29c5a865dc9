"""Own how one line of a dataset's file becomes a row."""

from pydantic import ValidationError

from rlt_core.schemas.datasets import DatasetRow
from rlt_train.errors import InvalidTrainingDataError


def read_row(line: str | bytes, number: int) -> DatasetRow:
    """Read a row; one without an id gets its line number, from 1. Raises InvalidTrainingDataError naming the line."""
    try:
        row = DatasetRow.model_validate_json(line)
    except ValidationError as error:
        # By kind and place alone: pydantic's own message quotes the row, and this one is logged.
        kinds = [f"{'.'.join(map(str, each['loc'])) or 'line'}: {each['type']}" for each in error.errors()]
        raise InvalidTrainingDataError(f"line {number} of the dataset is no row: {'; '.join(kinds)}") from error
    return row if row.id is not None else row.model_copy(update={"id": f"line-{number}"})
