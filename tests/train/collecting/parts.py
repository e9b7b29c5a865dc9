"""What tests of a collect are made of: answers as the journal has them, specs, rows."""

from typing import Any

from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import DatasetRow
from rlt_train.collecting.answers import Answered, Sample
from rlt_train.collecting.keeping import Origin, collected_row

JOB = "job_0123456789abcdef0123"


def spec(**fields: Any) -> CollectSpec:
    return CollectSpec.model_validate({"kind": "collect", "dataset": "ds_0", **fields})


def row(number: int, **fields: Any) -> DatasetRow:
    return DatasetRow.model_validate(
        {"id": f"r{number}", "question": f"{number} + 1?", "solution": str(number + 1)} | fields
    )


def sample(index: int, *, reward: float = -1.0, text: str = "one more", **fields: Any) -> Sample:
    body: dict[str, Any] = {
        "index": index,
        "text": text,
        "finish_reason": "stop",
        "well_formed": True,
        "verbatim": False,
        "explanation_tokens": 3,
        "completion_tokens": 4,
        "student_tokens": 40,
        "solution_tokens": 2,
        "reward": reward,
        "r_ss": reward,
        "r_kl": 0.0,
        "format_reward": 0.0,
        "uplift": 0.5,
        "solution_mean": -1.0,
        "solution_min": -2.0,
        "kl_mean": 0.0,
        "kl_max": 0.0,
    }
    return Sample.model_validate(body | fields)


def answered(position: int, *samples: Sample) -> Answered:
    return Answered(position=position, row_id=f"r{position}", seed=7, engine="fake", samples=list(samples))


def collected(number: int, *, text: str = "one more", format: str = "stratos@1", **metadata: Any) -> DatasetRow:
    """Make a row of a collected dataset; its question's row had `metadata`."""
    origin = Origin(job=JOB, teacher="algebra@3", student="tiny@0", format=format)
    made = sample(0, text=text)
    return collected_row(row(number, metadata=metadata), answered(number, made), made, spec=spec(), origin=origin)
