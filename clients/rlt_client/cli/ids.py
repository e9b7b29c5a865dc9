"""Own the ids that commands take: what each begins with, what is said to another's, and how a shell completes them."""

from collections.abc import Callable
from typing import Annotated, Final

import typer

from rlt_client.cli import completions

GROUPS: Final = {"job": "jobs", "ds": "datasets", "eval": "evaluations"}
"""The command group of each prefix."""


def _checked(prefix: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        seen, underscore, _ = value.partition("_")
        if underscore and seen in GROUPS and seen != prefix:
            raise typer.BadParameter(
                f"{value} is an id of `rlt {GROUPS[seen]}`; one of `rlt {GROUPS[prefix]}` begins with {prefix}_"
            )
        return value

    return check


JobId = Annotated[
    str,
    typer.Argument(
        help="The job's id, such as job_0a1b….",
        metavar="JOB",
        callback=_checked("job"),
        autocompletion=completions.jobs,
    ),
]
DatasetId = Annotated[
    str,
    typer.Argument(
        help="The dataset's id, such as ds_0a1b….",
        metavar="DATASET",
        callback=_checked("ds"),
        autocompletion=completions.datasets,
    ),
]
EvaluationId = Annotated[
    str,
    typer.Argument(
        help="The evaluation's id, such as eval_0a1b….",
        metavar="EVALUATION",
        callback=_checked("eval"),
    ),
]
