"""Own which samples of a question become rows, and what is counted on the way. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from rlt_core.schemas.collect import PROVENANCE, CollectSpec, Flaw, Provenance
from rlt_core.schemas.datasets import DatasetRow
from rlt_train.collecting.answers import Answered, Sample

COUNTS = (
    "questions",
    "too_long",
    "failed",
    "no_answer",
    "explanations",
    "verbatim",
    "unclosed",
    "wrong",
    "empty",
    "dropped_verbatim",
    "dropped_unclosed",
    "dropped_wrong",
    "over_budget",
    "without_row",
    "rows",
)
"""What is counted. `empty`: of nothing but blanks, never a row, for there is nothing to learn; `dropped_…`: kept out by
the option `drop`, one with several flaws counts in each; `over_budget`: of those left, beyond max_student_tokens;
`without_row`: questions with explanations of which none was kept.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The samples of a question that become rows, and its counts, of which those that are not named are 0."""

    samples: tuple[Sample, ...]
    counts: dict[str, int]


def flaws(sample: Sample) -> list[Flaw]:
    """Name what is wrong with an explanation."""
    found: list[Flaw] = []
    if sample.verbatim:
        found.append("verbatim")
    if not sample.well_formed:
        found.append("unclosed")
    if sample.right is False:
        found.append("wrong")
    return found


def keep(answered: Answered, *, spec: CollectSpec) -> Kept:
    """Choose: first without the flaws that are dropped, then those that fit, then all or the best of them.

    Of several with the same reward the first is the best.
    """
    counts = {"questions": 1}
    if answered.skipped is not None:
        return Kept(samples=(), counts=counts | {answered.skipped.reason: 1})
    counts["explanations"] = len(answered.samples)
    for flaw in get_args(Flaw):
        having = sum(flaw in flaws(sample) for sample in answered.samples)
        counts |= {flaw: having, f"dropped_{flaw}": having if flaw in spec.drop else 0}
    told = [sample for sample in answered.samples if sample.text.strip()]
    counts["empty"] = len(answered.samples) - len(told)
    left = [sample for sample in told if not set(flaws(sample)) & set(spec.drop)]
    if spec.keep == "best_that_fits" and spec.max_student_tokens is not None:
        fitting = [sample for sample in left if sample.student_tokens <= spec.max_student_tokens]
        counts["over_budget"], left = len(left) - len(fitting), fitting
    if spec.keep != "all" and left:
        left = [max(left, key=lambda sample: sample.reward)]
    counts |= {"rows": len(left), "without_row": int(not left)}
    return Kept(samples=tuple(left), counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What all rows of a collect have in common."""

    job: str
    teacher: str
    student: str
    format: str


def collected_row(
    row: DatasetRow, answered: Answered, sample: Sample, *, spec: CollectSpec, origin: Origin
) -> DatasetRow:
    """Make the row of an explanation: it stands as the reasoning trace; what else the question's row had stays."""
    provenance = Provenance(
        job=origin.job,
        source_row=answered.row_id,
        teacher=origin.teacher,
        student=origin.student,
        format=origin.format,
        engine=answered.engine,
        seed=answered.seed,
        sample=sample.index,
        n=spec.samples_per_question,
        temperature=spec.temperature,
        max_tokens=spec.max_tokens,
        **sample.model_dump(exclude={"index", "text", "final"}),
    )
    return row.model_copy(
        update={
            "id": f"{answered.row_id}#{sample.index}",
            "reasoning_trace": sample.text,
            "metadata": row.metadata | {PROVENANCE: provenance.model_dump(mode="json")},
        }
    )


def summed(samples: Sequence[Sample]) -> dict[str, float]:
    """Add up what means are made of."""
    return {
        "reward": sum(sample.reward for sample in samples),
        "r_ss": sum(sample.r_ss for sample in samples),
        "r_kl": sum(sample.r_kl for sample in samples),
        "uplift": sum(sample.uplift or 0.0 for sample in samples),
        "length": float(sum(sample.explanation_tokens for sample in samples)),
    }
