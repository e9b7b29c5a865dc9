"""Start a job: a form of each kind's own fields, checked by a dry run before anything begins."""

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from nicegui import ui

from rlt_core.schemas.jobs import SPECS
from rlt_service.dashboard.addresses import JobPage, with_query
from rlt_service.dashboard.dry_run_views import checked
from rlt_service.dashboard.forms import FieldError, FormField, fields_of, spec_of
from rlt_service.dashboard.frame import button, raw, refused
from rlt_service.dashboard.gateway import Gateway, RefusedError
from rlt_service.dashboard.job_views import KIND_NAMES
from rlt_service.dashboard.markup import tag
from rlt_service.dashboard.tables import heading, refusal
from rlt_service.dashboard.visits import Visit

FIRST_KIND: Final = "rl"
DATASETS: Final = 100


async def build(visit: Visit) -> None:
    """Show the form of a kind; values of the address stand in its fields."""
    kind = visit.query.get("kind", FIRST_KIND)
    kind = kind if kind in SPECS else FIRST_KIND
    page = await visit.gateway.datasets(limit=DATASETS)
    datasets = {found.id: f"{found.name or found.id} · {found.rows} rows" for found in page.data if found.complete}
    links = [
        tag(
            "a",
            KIND_NAMES[name],
            href=with_query("/jobs/new", {"kind": name}),
            aria_current="page" if name == kind else None,
        )
        for name in SPECS
    ]
    raw(heading("Start a job", above=("Jobs", "/jobs"), here="new"))
    raw(tag("nav", links, class_="tabs", aria_label="Kinds of job"))
    with ui.element("div").classes("split"):
        form = ui.element("div").classes("card")
        results = ui.element("div").classes("stack")
    with results:
        raw(
            tag(
                "div",
                tag("p", "A check shows here what the job would read and take. Nothing starts before."),
                class_="card muted",
            )
        )
    with form:
        JobForm(visit.gateway, kind=kind, datasets=datasets, given=visit.query, results=results)


class JobForm:
    """The fields of one kind, and the two buttons: check, then start exactly what was checked."""

    def __init__(
        self, gateway: Gateway, *, kind: str, datasets: Mapping[str, str], given: Mapping[str, str], results: ui.element
    ) -> None:
        self._gateway = gateway
        self._kind = kind
        self._results = results
        self._typed: dict[str, str] = {}
        self._spec: dict[str, Any] | None = None
        fields = fields_of(kind)
        for field in fields:
            self._typed[field.name] = given.get(field.name, "")
        raw(tag("p", "Empty fields leave what they show in grey.", class_="muted", style="margin-bottom: 12px"))
        with ui.element("div").classes("fields"):
            for field in [field for field in fields if field.first]:
                self._field(field, datasets)
        with ui.expansion("More fields").props("dense").classes("more"), ui.element("div").classes("fields"):
            for field in [field for field in fields if not field.first]:
                self._field(field, datasets)
        with ui.element("div").classes("bar").style("margin-top: 14px"):
            button("Check", self._check, look="primary")
            self._start_button = button("Start", self._start)
        self._start_button.disable()

    def _field(self, field: FormField, datasets: Mapping[str, str]) -> None:
        def note(value: object) -> None:
            self._typed[field.name] = "" if value is None else str(value)
            self._spec = None
            self._start_button.disable()

        with ui.element("div").classes("field wide" if field.type in ("text", "json") else "field"):
            made = _control(field, self._typed[field.name], datasets)
            made.on_value_change(lambda event: note(event.value))
            made.props("outlined dense stack-label")
            said = f"{field.help} Default: {field.initial}." if field.choices or field.type == "switch" else field.help
            raw(tag("p", said.removesuffix(" Default: ."), class_="help"))

    async def _check(self) -> None:
        self._results.clear()
        with self._results:
            try:
                spec = spec_of(self._kind, self._typed)
                raw(tag("p", "The server checks …", class_="muted", role="status"))
                found = await self._gateway.dry_run(spec)
            except FieldError as error:
                self._results.clear()
                raw(refusal(str(error), code="not_sent", param=f"/{error.field}"))
                return
            except RefusedError as error:
                self._results.clear()
                refused(error)
                return
            self._results.clear()
            raw(checked(found))
            raw(tag("details", tag("summary", "What is sent"), tag("pre", json.dumps(spec, indent=2)), class_="card"))
        self._spec = spec
        self._start_button.enable()

    async def _start(self) -> None:
        if self._spec is None:
            return
        spec, self._spec = self._spec, None
        self._start_button.disable()
        try:
            job = await self._gateway.train(spec, idempotency_key=str(uuid4()))
        except RefusedError as error:
            with self._results:
                refused(error)
            return
        ui.navigate.to(JobPage(id=job.id).address)


def _control(field: FormField, given: str, datasets: Mapping[str, str]) -> ui.select | ui.input:
    label = f"{field.label}{' *' if field.required else ''}"
    if field.name == "dataset" and datasets:
        return ui.select(dict(datasets), label=label, value=given if given in datasets else None, clearable=True)
    if field.type in ("choice", "switch"):
        choices = field.choices or ("true", "false")
        return ui.select(list(choices), label=label, value=given if given in choices else None, clearable=True)
    return ui.input(label, value=given, placeholder=field.initial)
