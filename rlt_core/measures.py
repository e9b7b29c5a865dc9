"""Own what rows of one version come to: a value a question for each figure, means with intervals, pairs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations

from rlt_core.comparison import MEASURES
from rlt_core.schemas.measured import AnswerRow, ComparedFigures, EvaluationComparison, Figure, ModelEvaluation
from rlt_core.schemas.teachers import Difference, EvaluationRow
from rlt_core.statistics import mean, mean_interval, paired_difference, pass_at_k

MeasuredRow = AnswerRow | EvaluationRow
Values = dict[str, dict[str, float]]
"""By figure: a value for each question's id."""

COMPARED = ("pass@", "reward", "r_ss", "r_kl", "uplift")
"""How the figures begin that pairs are compared in; the others tell what an answer is like."""
SETTINGS = ("samples", "temperature", "top_p", "max_tokens", "seed", "engine", "format", "student", "reward")


def values_of(rows: Sequence[MeasuredRow], *, pass_at: Sequence[int] = (1,)) -> Values:
    """Give each question's value of every figure: means over its samples, of right answers pass@k.

    Raises ValueError on no rows, or where a question has fewer samples than a k.
    """
    if not rows:
        raise ValueError("no rows to measure")
    groups: dict[str, list[MeasuredRow]] = {}
    for row in rows:
        groups.setdefault(row.question_id, []).append(row)
    values: Values = {}
    for question, group in groups.items():
        for figure, value in _of_question(group, pass_at=pass_at).items():
            values.setdefault(figure, {})[question] = value
    # A figure that some questions lack is no mean over questions: an uplift that was not asked for everywhere.
    return {figure: found for figure, found in values.items() if len(found) == len(groups)}


def figures_of(values: Values) -> dict[str, Figure]:
    """Give each figure's mean over questions with its interval."""
    return {figure: Figure(**asdict(mean_interval(list(found.values())))) for figure, found in values.items()}


def pass_at_of(evaluation: ModelEvaluation) -> list[int]:
    """Read which k an evaluation told."""
    return [int(name.removeprefix("pass@")) for name in evaluation.figures if name.startswith("pass@")] or [1]


def fault_of_comparison(evaluations: Sequence[ModelEvaluation]) -> str | None:
    """Say why evaluations cannot be laid side by side; None where they can."""
    first = evaluations[0]
    for other in evaluations[1:]:
        for what, mine, its in (
            ("roles", first.role, other.role),
            ("datasets", first.dataset_sha256, other.dataset_sha256),
            ("verdicts", first.verdict, other.verdict),
        ):
            if mine != its:
                shown = (first.dataset, other.dataset) if what == "datasets" else (mine, its)
                return f"{first.id} and {other.id} are of different {what}, {shown[0]} and {shown[1]}"
    return None


def compare(evaluations: Sequence[ModelEvaluation], values: Sequence[Values]) -> EvaluationComparison:
    """Lay evaluations of the same dataset side by side, paired by question.

    Raises ValueError where fewer than 2 questions were answered by all.
    """
    shared = set(_questions(values[0]))
    for found in values[1:]:
        shared &= _questions(found)
    if len(shared) < 2:
        raise ValueError(f"{len(shared)} questions were answered by all, 2 are the least")
    return EvaluationComparison(
        evaluations=list(evaluations),
        questions=len(shared),
        pairs=[
            ComparedFigures(
                before=before.id, after=after.id, differences=_differences(was, became, questions=sorted(shared))
            )
            for (before, was), (after, became) in combinations(zip(evaluations, values, strict=True), 2)
        ],
        differing=[
            name
            for name in SETTINGS
            if any(_setting(each, name) != _setting(evaluations[0], name) for each in evaluations)
        ],
    )


def _of_question(group: Sequence[MeasuredRow], *, pass_at: Sequence[int]) -> Mapping[str, float]:
    answers = [row for row in group if isinstance(row, AnswerRow)]
    if not answers:
        explained = [row for row in group if isinstance(row, EvaluationRow)]
        found = {name: [getattr(row, name) for row in explained] for name in MEASURES}
        return {name: mean([float(value) for value in each]) for name, each in found.items() if None not in each}
    samples, right = len(answers), sum(row.right for row in answers)
    figures = {f"pass@{k}": pass_at_k(samples=samples, right=right, k=k) for k in pass_at}
    return figures | {
        f"mean@{samples}": right / samples,
        "closed": mean([float(row.solution is not None) for row in answers]),
        "answered": mean([float(row.found is not None) for row in answers]),
        "tokens": mean([float(row.tokens) for row in answers]),
    }


def _differences(was: Values, became: Values, *, questions: Sequence[str]) -> dict[str, Difference]:
    return {
        figure: Difference(
            **asdict(
                paired_difference(
                    before=[was[figure][question] for question in questions],
                    after=[became[figure][question] for question in questions],
                )
            )
        )
        for figure in was
        if figure in became and figure.startswith(COMPARED)
    }


def _questions(values: Values) -> set[str]:
    return set(next(iter(values.values())))


def _setting(evaluation: ModelEvaluation, name: str) -> object:
    return getattr(evaluation, name)
