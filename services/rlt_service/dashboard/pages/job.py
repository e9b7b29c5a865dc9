"""One job: how far it is, its curves, samples, events, log and spec; what can be asked of it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from nicegui import ui

from rlt_core.schemas.base import now_utc
from rlt_service.dashboard.addresses import JobPage
from rlt_service.dashboard.curves import Curves, chart, groups_of
from rlt_service.dashboard.following import Following
from rlt_service.dashboard.frame import button, confirm, raw
from rlt_service.dashboard.gateway import RefusedError
from rlt_service.dashboard.job_views import (
    ACTIONS,
    QUESTIONS,
    actions_of,
    head_facts,
    outcome,
    sample,
    standing,
    tabs,
    told,
)
from rlt_service.dashboard.markup import EMPTY, Markup, joined, tag
from rlt_service.dashboard.tables import empty, heading, refusal
from rlt_service.dashboard.visits import Visit

PERIOD_S: Final = 2.0


async def build(visit: Visit) -> None:
    """Show a job, and follow it until it has ended."""
    place = JobPage.of(visit.path["job_id"], visit.query)
    following = await Following.begin(visit.gateway, place.id)
    head = Head(following)
    raw(tabs(place))
    if place.tab == "samples":
        await _samples(following, place)
    elif place.tab == "events":
        feed = raw(told(await following.newest())).classes("card")
        head.then(lambda: _tell(following, feed))
    elif place.tab == "log":
        log = raw(_log(await visit.gateway.logs(place.id)))

        async def read() -> None:
            log.set_content(_log(await visit.gateway.logs(place.id)))

        head.then(read)
    elif place.tab == "spec":
        spec = following.job.spec.model_dump(mode="json")
        raw(tag("pre", json.dumps(spec, indent=2, ensure_ascii=False), class_="card", tabindex=0))
    else:
        charts = Charts(following.curves)

        async def draw() -> None:
            charts.draw()

        head.then(draw)
    head.follow()


class Head:
    """What stands over every tab; it hears of every change, and tells the tab."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._then: Callable[[], Awaitable[None]] = _nothing
        job = following.job
        with ui.element("div").classes("head"):
            raw(heading(job.name or job.id, above=("Jobs", "/jobs"), here=job.id))
            self._actions = ui.element("div").classes("bar")
        self._dialogs = {name: self._dialog(name) for name in ACTIONS}
        with ui.element("div").classes("card"):
            self._state = raw()
        self._outcome = raw()
        self._shown: tuple[str, list[str]] | None = None
        self.draw()

    def then(self, react: Callable[[], Awaitable[None]]) -> None:
        """Have a tab told after each change."""
        self._then = react

    def draw(self) -> None:
        """Show the job as it is."""
        job = self._following.job
        self._state.set_content(joined(standing(job), head_facts(job, now=now_utc())))
        made = outcome(job)
        self._outcome.set_content(made or EMPTY)
        self._outcome.set_visibility(made is not None)
        shown = (job.status, actions_of(job))
        if shown == self._shown:
            return
        self._shown = shown
        self._actions.clear()
        with self._actions:
            for name in actions_of(job):
                self._button(name)

    def follow(self) -> None:
        """Look for what is new, until the job has ended or the page is closed."""
        if self._following.over:
            return
        timer = ui.timer(PERIOD_S, self._look, immediate=False)
        self._stop = timer.cancel

    async def _look(self) -> None:
        try:
            if await self._following.poll():
                self.draw()
                await self._then()
        except RefusedError:
            return  # the next round asks again; what is shown stays
        if self._following.over:
            self._stop()

    def _dialog(self, name: str) -> ui.dialog:
        async def do() -> None:
            self._following.job = await self._following.gateway.change(self._following.job.id, name)
            self.draw()

        label = ACTIONS[name]
        return confirm(f"{label} this job?", QUESTIONS[name], yes=f"{label} it", action=do, dangerous=name == "cancel")

    def _button(self, name: str) -> None:
        button(ACTIONS[name], self._dialogs[name].open, look="danger" if name == "cancel" else "plain")


class Charts:
    """The curves of a job, one chart for each group of series."""

    def __init__(self, curves: Curves) -> None:
        self._curves = curves
        self._charts: dict[str, ui.echart] = {}
        self._grid = ui.element("div").classes("cards")
        self.draw()

    def draw(self) -> None:
        """Draw what is there; a chart comes with its first point."""
        groups = groups_of(self._curves.names)
        if not groups and not self._charts:
            self._grid.clear()
            with self._grid:
                raw(empty("No curves yet", "They begin with the first step."))
            return
        if not self._charts:
            self._grid.clear()
        for title, names in groups:
            options = chart({name: self._curves.points(name) for name in names}, title=title)
            if title in self._charts:
                shown = self._charts[title]
                cast(dict[str, Any], shown.options).update(options)
                shown.update()
                continue
            with self._grid, ui.element("section").classes("card"):
                raw(tag("h2", title))
                self._charts[title] = (
                    ui.echart(options).classes("chart").props(f'role=img aria-label="{title} by step"')
                )


async def _samples(following: Following, place: JobPage) -> None:
    most = following.job.progress.step
    if most < 1:
        raw(empty("No samples yet", "The first step brings some."))
        return
    chosen = min(place.step if place.step is not None else most, most)
    with ui.element("div").classes("card"):
        said = raw(tag("h2", f"Step {chosen} of {most}"))
        slider = ui.element("input").props(f'type=range min=1 max={most} value={chosen} aria-label="Step"')
        slider.style("width: 100%")
    shown = raw().classes("samples")

    async def show(step: int) -> None:
        said.set_content(tag("h2", f"Step {step} of {most}"))
        try:
            found = await following.samples(step)
        except RefusedError as error:
            shown.set_content(refusal(error.detail, code=error.code))
            return
        none = empty("No samples", "This kind of job keeps none, or this step has none.")
        shown.set_content(tag("div", [sample(event.data) for event in found], class_="cards") if found else none)

    async def slide(event: object) -> None:
        step = int(getattr(event, "args", chosen))
        ui.navigate.history.replace(JobPage(id=place.id, tab="samples", step=step).address)
        await show(step)

    slider.on("input", slide, js_handler="(event) => emit(Number(event.target.value))", throttle=0.15)
    await show(chosen)


async def _tell(following: Following, feed: ui.html) -> None:
    feed.set_content(told(await following.newest()))


def _log(text: str) -> Markup:
    return tag("pre", text, class_="log", tabindex=0) if text else empty("No log", "It begins with the first attempt.")


async def _nothing() -> None:
    return
