"""Own how evaluations are shown: figures with intervals, question by question, two side by side. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from rlt_core.schemas.base import Page
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import Job
from rlt_core.schemas.measured import AnswerRow, EvaluationComparison, Figure, ModelEvaluation
from rlt_core.schemas.teachers import Difference, Evaluation, EvaluationRow
from rlt_service.dashboard.dataset_views import window_links
from rlt_service.dashboard.figures import NONE, count, figure, interval, moment, signed
from rlt_service.dashboard.markup import Markup, joined, tag
from rlt_service.dashboard.tables import empty, table
from rlt_service.dashboard.token_views import facts

LONGEST: Final = 600
"""Characters of a cell."""


def listed(jobs: Sequence[Job]) -> Markup:
    """Write the evaluations that jobs have made, each with a box to be compared by."""
    made = [(job, id_, of) for job in jobs for id_, of in _made(job)]
    if not made:
        return empty(
            "No evaluations yet", "A job of the kind evaluate makes one.", link=("/jobs/new?kind=evaluate", "Evaluate")
        )
    rows = [
        [
            tag("input", type="checkbox", name="id", value=id_, aria_label=f"compare {id_}"),
            tag("a", id_, href=f"/evaluations/{id_}", class_="mono"),
            of or NONE,
            tag("a", job.name or job.id, href=f"/jobs/{job.id}"),
            moment(job.finished_at),
        ]
        for job, id_, of in made
    ]
    names = ["", "Evaluation", "Of", "Job", "UTC"]
    return tag(
        "form",
        table(names, rows, classes=["narrow", "", "", "clip optional", "optional"], label="Evaluations"),
        tag("button", "Compare the chosen", type="submit", class_="button", style="margin-top: 14px"),
        method="get",
        action="/evaluations/compare",
        class_="card",
    )


def head(found: Evaluation | ModelEvaluation) -> Markup:
    """Write what was measured, and what it came to."""
    if isinstance(found, ModelEvaluation):
        pairs = [("model", found.model), ("role", found.role), ("questions", count(found.questions)),
                 ("samples", count(found.samples)), ("temperature", figure(found.temperature, digits=2)),
                 ("engine", found.engine)]  # fmt: skip
        return tag("div", facts(pairs), figures(found.figures), class_="card")
    pairs = [
        ("after", found.after),
        ("before", found.before),
        ("student", found.student),
        ("questions", count(found.difference.n)),
    ]
    rows = {"reward": found.difference, "r_SS": found.difference_r_ss}
    return tag("div", facts(pairs), differences(rows), class_="card")


def figures(found: Mapping[str, Figure]) -> Markup:
    """Write figures with their intervals."""
    rows = [[name, interval(one.mean, one.ci_low, one.ci_high), count(one.n)] for name, one in found.items()]
    return table(["Figure", "Mean [95%]", "n"], rows, classes=["", "number", "number"], label="Figures", fit=True)


def differences(found: Mapping[str, Difference]) -> Markup:
    """Write differences with their intervals, and whether they hold."""
    rows = [
        [name, interval(one.mean, one.ci_low, one.ci_high), count(one.n), verdict(one)] for name, one in found.items()
    ]
    return table(
        ["Figure", "After minus before [95%]", "n", ""],
        rows,
        classes=["", "number", "number", ""],
        label="Differences",
        fit=True,
    )


def verdict(found: Difference) -> str:
    """Say what an interval allows to say."""
    if found.ci_low > 0:
        return "higher"
    return "lower" if found.ci_high < 0 else "no difference shown"


def answers(page: Page[AnswerRow], *, evaluation_id: str, offset: int, limit: int) -> Markup:
    """Write a window of a model's answers, each with its verdict."""
    made = [
        [
            _text(row.question),
            joined(_text(row.thought[:LONGEST], class_="text muted"), _text(row.solution or "never closed")),
            "right" if row.right else f"wrong: {row.why}",
        ]
        for row in page.data
    ]
    ways = window_links(f"/evaluations/{evaluation_id}", offset, limit, more=page.has_more)
    return _questions(["Question", "Written", "Verdict"], made, classes=["", "", ""], ways=ways)


def side_by_side(found: Evaluation, rows: Sequence[EvaluationRow], *, offset: int, limit: int) -> Markup:
    """Write what both versions of a comparison wrote, question by question; a window of `limit` questions."""
    pairs = pairs_of(rows, before=found.before, after=found.after)
    made = [
        [
            joined(_text(before.question), _text(before.solution, class_="text muted")),
            _explained(before),
            _explained(after),
            signed(after.reward - before.reward),
        ]
        for before, after in pairs[offset : offset + limit]
    ]
    ways = window_links(f"/evaluations/{found.id}", offset, limit, more=len(pairs) > offset + limit)
    names = ["Question", f"Before: {found.before}", f"After: {found.after}", "Difference"]
    return _questions(names, made, classes=["", "", "", "number"], ways=ways)


def pairs_of(rows: Sequence[EvaluationRow], *, before: str, after: str) -> list[tuple[EvaluationRow, EvaluationRow]]:
    """Put the answers of two versions to the same question beside each other, in the order of the first version's."""
    left: dict[str, list[EvaluationRow]] = {}
    for row in rows:
        if row.version == after:
            left.setdefault(row.question_id, []).append(row)
    firsts = [row for row in rows if row.version == before and left.get(row.question_id)]
    return [(row, left[row.question_id].pop(0)) for row in firsts if left[row.question_id]]


def compared(found: EvaluationComparison) -> Markup:
    """Write evaluations side by side, pair by pair."""
    models = {one.id: one.model for one in found.evaluations}
    warning = None
    if found.differing:
        warning = tag(
            "p", f"Not the same in all: {', '.join(found.differing)}. What differs may be theirs.", class_="notice"
        )
    pairs = [
        tag(
            "section",
            tag("h2", f"{models.get(pair.after, pair.after)} against {models.get(pair.before, pair.before)}"),
            differences(pair.differences),
            class_="card",
        )
        for pair in found.pairs
    ]
    return tag(
        "div",
        tag("p", f"{count(found.questions)} questions that all have answered", class_="muted"),
        warning,
        pairs,
        class_="stack",
    )


def _made(job: Job) -> list[tuple[str, str | None]]:
    """Give the evaluations that a job has made, and who was measured."""
    if job.result is None:
        return []
    ids = job.result.evaluations or ([job.result.evaluation] if job.result.evaluation else [])
    spec = job.spec
    measured = spec.models or [spec.model] if isinstance(spec, EvaluateSpec) else [job.result.teacher]
    return [(id_, measured[at] if at < len(measured) else None) for at, id_ in enumerate(ids)]


def _questions(
    names: Sequence[str], made: Sequence[Sequence[str | Markup]], *, classes: Sequence[str], ways: Markup
) -> Markup:
    pager = tag("nav", ways, class_="pager", aria_label="Questions")
    return tag("div", table(names, made, classes=classes, label="Question by question"), pager, class_="card")


def _explained(row: EvaluationRow) -> Markup:
    return joined(_text(row.text[:LONGEST]), tag("div", signed(row.reward), class_="muted"))


def _text(text: str, *, class_: str = "text") -> Markup:
    return tag("div", text, class_=class_)
