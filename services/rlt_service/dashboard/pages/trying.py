"""Try: a question with its solution, explained while one looks, and what a student finds hard in it, token by token."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from nicegui import ui

from rlt_core.schemas.explain import ExplainDone, Explanation, ExplanationDelta
from rlt_service.dashboard.addresses import with_query
from rlt_service.dashboard.frame import button, raw, refused
from rlt_service.dashboard.gateway import Gateway, RefusedError
from rlt_service.dashboard.markup import Markup, joined, tag
from rlt_service.dashboard.token_views import legend, scored
from rlt_service.dashboard.visits import Visit
from rlt_service.dashboard.work import Work

EXAMPLE: Final = ("A train leaves at 9:40 and arrives at 11:05. How long does it travel?", "1 hour 25 minutes")
MAX_TOKENS: Final = 512
MAX_ADDRESS: Final = 4000
"""Characters of an address; longer texts stay out of it."""
NOBODY: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a visitor wants explained."""

    question: str
    solution: str
    teacher: str
    other: str
    student: str

    @property
    def address(self) -> str:
        """Write it, so that it can be shared."""
        fields = {"teacher": self.teacher, "other": self.other or None, "student": self.student}
        whole = with_query("/", {"question": self.question, "solution": self.solution, **fields})
        return whole if len(whole) <= MAX_ADDRESS else with_query("/", fields)


async def build(visit: Visit) -> None:
    """Show the form, and beside it what came of it."""
    names = await visit.gateway.callable_names()
    raw(joined(tag("h1", "Try a teacher"), tag("p", _WHAT, class_="muted")))
    with ui.element("div").classes("split asking"):
        form = ui.element("div").classes("card")
        results = ui.element("div").classes("stack results")
    with results:
        raw(
            tag("div", tag("h2", "Nothing asked yet"), tag("p", "What is explained appears here."), class_="empty card")
        )
    with form:
        Form(visit, names=names, results=results)


_WHAT: Final = (
    "A teacher explains how a question leads to its solution; a student reads it, and each token is coloured by how "
    "little the student expected it."
)


class Form:
    """The fields and their buttons."""

    def __init__(self, visit: Visit, *, names: list[str], results: ui.element) -> None:
        self._gateway = visit.gateway
        self._results = results
        self._work = Work(tell=self._is_busy)
        query, offered = visit.query, ["default", *[name for name in names if name != "default"]]
        self._question = _text("Question", query.get("question", ""), rows=4)
        self._solution = _text("Solution", query.get("solution", ""), rows=2)
        self._teacher = _choice("Teacher", offered, query.get("teacher", "default"))
        self._other = _choice("Beside it (another version)", [NOBODY, *offered], query.get("other", NOBODY))
        self._student = _choice("Student who reads", offered, query.get("student", "default"))
        with ui.element("div").classes("bar").style("margin-top: 14px"):
            button("Explain", self._explain, look="primary")
            self._stop = button("Stop", self._work.stop)
            self._stop.disable()
            button("Example", self._example, look="quiet")

    def _is_busy(self, busy: bool) -> None:
        self._stop.set_enabled(busy)

    def _example(self) -> None:
        self._question.value, self._solution.value = EXAMPLE

    def _explain(self) -> None:
        asked = Asked(
            question=self._question.value or "",
            solution=self._solution.value or "",
            teacher=self._teacher.value or "default",
            other=self._other.value or "",
            student=self._student.value or "default",
        )
        ui.navigate.history.replace(asked.address)
        self._results.clear()
        with self._results:
            columns = ui.element("div").classes("cards")
            raw(legend())
        teachers = [asked.teacher, *([asked.other] if asked.other else [])]
        with columns:
            places = [Answer(self._gateway, asked, teacher=teacher) for teacher in teachers]

        async def all_of_them() -> None:
            await asyncio.gather(*[place.fill() for place in places])

        self._work.start(all_of_them())


class Answer:
    """One teacher's explanation while it is written, and its score."""

    def __init__(self, gateway: Gateway, asked: Asked, *, teacher: str) -> None:
        self._gateway = gateway
        self._asked = asked
        self._teacher = teacher
        self._card = ui.element("div").classes("card answer")
        with self._card:
            self._said = raw(_written(teacher, "", note="asked …"))
            self._score = raw()

    async def fill(self) -> None:
        """Ask, show the text as it comes, then have it scored; a refusal is shown in its place."""
        try:
            entry, teacher, note = await self._explained()
            self._score.set_content(tag("p", "The student reads …", class_="muted", role="status"))
            answer = await self._gateway.score(
                {
                    "question": self._asked.question,
                    "solution": self._asked.solution,
                    "explanations": [entry],
                    "student": self._asked.student,
                    "baseline": True,
                    "include": ["tokens"],
                }
            )
            self._said.set_content(_written(teacher, "", note=note))
            self._score.set_content(scored(answer, answer.scores[0], title="What the student finds hard"))
        except RefusedError as error:
            self._score.set_content("")
            with self._card:
                refused(error)

    async def _explained(self) -> tuple[dict[str, Any], str, str]:
        text, entry, teacher, note = "", dict[str, Any](), self._teacher, ""
        request = {
            "question": self._asked.question,
            "solution": self._asked.solution,
            "teacher": self._teacher,
            "max_tokens": MAX_TOKENS,
            "include": ["tokens"],
        }
        async for event in self._gateway.explain(request):
            match event:
                case ExplanationDelta():
                    text += event.text
                    self._said.set_content(_written(teacher, text, note="writes …"))
                case Explanation():
                    entry = event.model_dump(mode="json", include={"text", "tokens", "well_formed"})
                    text = event.text
                case ExplainDone():
                    teacher = event.teacher.version
                    note = f"{event.usage.completion_tokens} tokens · engine {event.engine.name}"
                    self._said.set_content(_written(teacher, text, note=note))
        return entry, teacher, note


def _written(teacher: str, text: str, *, note: str) -> Markup:
    return joined(
        tag("h2", teacher),
        tag("p", note, class_="muted", role="status"),
        tag("p", text, class_="text explanation") if text else None,
    )


def _text(label: str, value: str, *, rows: int) -> ui.textarea:
    return ui.textarea(label, value=value).props(f"outlined rows={rows}").style("width: 100%; margin-bottom: 10px")


def _choice(label: str, names: list[str], value: str) -> ui.select:
    offered = names if value in names else [*names, value]
    made = ui.select({name: name or "none" for name in offered}, label=label, value=value)
    return made.props("outlined dense options-dense").style("width: 100%; margin-bottom: 10px")
