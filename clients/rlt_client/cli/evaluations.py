"""`rlt evaluations`: what versions came to, their answers one by one, and versions side by side."""

from typing import Annotated

import typer
from rich.console import Console

from rlt_client.cli import tables
from rlt_client.cli.ids import EvaluationId
from rlt_client.cli.state import Json, print_json, state_of
from rlt_core.schemas.measured import EvaluationComparison, ModelEvaluation


def build() -> typer.Typer:
    """Put the group together."""
    group = typer.Typer(help="What an evaluate measured: show, answers, compare.", no_args_is_help=True)
    for name, command in (("show", show), ("answers", answers), ("compare", compare)):
        group.command(name)(command)
    return group


def show(context: typer.Context, evaluation_id: EvaluationId, as_json: Json = False) -> None:
    """Show what one version came to, each figure with its 95% interval."""
    state = state_of(context)
    with state.client() as client:
        found = client.evaluations.measured(evaluation_id)
    if as_json:
        print_json(found)
        return
    _show_head(found, out=state.out)
    rows = [
        (name, f"{figure.mean:.4g}", _interval(figure.ci_low, figure.ci_high)) for name, figure in found.figures.items()
    ]
    tables.show(("figure", "mean", "95% interval"), rows, out=state.out)


def answers(
    context: typer.Context,
    evaluation_id: EvaluationId,
    offset: Annotated[int, typer.Option(min=0, help="Answers to pass over.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Most answers to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Show a student's answers with the verdict on each."""
    state = state_of(context)
    with state.client() as client:
        page = client.evaluations.answers(evaluation_id, offset=offset, limit=limit)
    if as_json:
        print_json(page)
        return
    rows = [
        (row.question_id, str(row.sample), "yes" if row.right else "no", row.found or "", row.answer or "", row.why)
        for row in page.data
    ]
    head = ("question", "sample", "right", "found", "answer", "why")
    tables.show(head, rows, out=state.out, empty="no answers")


def compare(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(help="Evaluations by id, or versions.", metavar="EVALUATION…")],
    as_json: Json = False,
) -> None:
    """Lay evaluations of the same dataset side by side, paired by question.

    Example: `rlt evaluations compare pupil@1 pupil@2`
    """
    state = state_of(context)
    with state.client() as client:
        found = client.evaluations.compare(names)
    if as_json:
        print_json(found)
    else:
        show_comparison(found, out=state.out)


def show_comparison(found: EvaluationComparison, *, out: Console) -> None:
    """Print what evaluations differ in, pair by pair."""
    models = {evaluation.id: evaluation.model for evaluation in found.evaluations}
    out.print(f"{found.questions} questions that all answered", markup=False)
    if found.differing:
        out.print(f"  not the same in all: {', '.join(found.differing)}", style="bold", markup=False)
    rows = [
        (models[pair.before], models[pair.after], name, f"{gain.mean:+.4g}", _interval(gain.ci_low, gain.ci_high))
        for pair in found.pairs
        for name, gain in pair.differences.items()
    ]
    tables.show(("before", "after", "figure", "difference", "95% interval"), rows, out=out)


def _show_head(found: ModelEvaluation, *, out: Console) -> None:
    by = f"judged by {found.verdict}" if found.verdict is not None else f"scored by {found.student}"
    out.print(
        f"{found.role} {found.model} on {found.dataset}: {found.questions} questions x {found.samples} at temperature "
        f"{found.temperature:g}, {by}, engine {found.engine}",
        markup=False,
    )


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
