"""Own how evaluations are shown: figures with intervals, question by question, two side by side. Pure."""

from collections.abc import Mapping, Sequence

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


def rows(page: Page[EvaluationRow] | Page[AnswerRow], *, evaluation_id: str, offset: int, limit: int) -> Markup:
    """Write a window of an evaluation's questions."""
    made = [_answer(row) if isinstance(row, AnswerRow) else _explained(row) for row in page.data]
    ways = window_links(f"/evaluations/{evaluation_id}", offset, limit, more=page.has_more)
    answers = any(isinstance(row, AnswerRow) for row in page.data)
    names = ["Question", "Version", "Written", "Verdict" if answers else "Reward"]
    return tag(
        "div",
        table(names, made, classes=["", "optional", "", "" if answers else "number"], label="Question by question"),
        tag("nav", ways, class_="pager", aria_label="Rows"),
        class_="card",
    )


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


def _answer(row: AnswerRow) -> list[str | Markup]:
    said = "right" if row.right else f"wrong: {row.why}"
    return [
        _text(row.question),
        row.version,
        joined(_text(row.thought[:600], class_="text muted"), _text(row.solution or "never closed")),
        said,
    ]


def _explained(row: EvaluationRow) -> list[str | Markup]:
    return [
        joined(_text(row.question), _text(row.solution, class_="text muted")),
        row.version,
        _text(row.text[:600]),
        signed(row.reward),
    ]


def _text(text: str, *, class_: str = "text") -> Markup:
    return tag("div", text, class_=class_)
