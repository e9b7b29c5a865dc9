"""Turn series into rows, and into a pandas frame where pandas is there."""

import importlib
from typing import Any

from rlt_core.schemas.jobs import JobMetrics

Rows = list[dict[str, float | None]]


def rows_of(metrics: JobMetrics) -> Rows:
    """Give one dictionary a step: `step` and every series."""
    return [
        {"step": step, **{name: values[place] for name, values in metrics.series.items()}}
        for place, step in enumerate(metrics.steps)
    ]


def frame_of(metrics: JobMetrics) -> Any:
    """Give a pandas frame with a column a series (NaN where a step has no value), or rows without pandas."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return rows_of(metrics)
    index = pandas.Index(metrics.steps, name="step")
    return pandas.DataFrame(metrics.series, index=index, dtype="float64")
