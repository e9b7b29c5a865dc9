"""Access: projects and what they may and did use, keys, who did what; a project is bounded and a key ended here."""

from typing import Final

from nicegui import ui

from rlt_core.schemas.base import now_utc
from rlt_core.schemas.projects import KeyCard, Project, Quotas
from rlt_service.dashboard.access_views import audit, keys, projects, quotas_of, typed_of
from rlt_service.dashboard.addresses import with_query
from rlt_service.dashboard.forms import FieldError
from rlt_service.dashboard.frame import button, confirm, raw, refused
from rlt_service.dashboard.gateway import Gateway, RefusedError
from rlt_service.dashboard.markup import joined, tag
from rlt_service.dashboard.tables import refusal
from rlt_service.dashboard.visits import Visit

LISTED: Final = 50


async def build(visit: Visit) -> None:
    """Show who uses the server; the address narrows it to a project or a key."""
    raw(tag("h1", "Access"))
    found, cards = await visit.gateway.projects(), await visit.gateway.keys()
    of = {name: visit.query.get(name) or None for name in ("project", "key")}
    page = await visit.gateway.audit(limit=LISTED, after=visit.query.get("after"), **of)
    raw(projects(found))
    for project in found:
        if project.name == of["project"]:
            _quotas(visit.gateway, project)
    raw(keys(cards, now=now_utc()))
    for card in cards:
        if card.id == of["key"] and card.revoked_at is None:
            _revoke(visit.gateway, card)
    raw(audit(page, names={one.id: one.name for one in found}, of=of))


def _quotas(gateway: Gateway, project: Project) -> None:
    typed = typed_of(project.quotas)

    async def store() -> None:
        said.clear()
        with said:
            try:
                await gateway.bound(project.name, quotas_of(typed))
            except FieldError as error:
                raw(refusal(str(error), code="not_sent", param=f"/{error.field}"))
                return
            except RefusedError as error:
                refused(error)
                return
        ui.navigate.to(with_query("/access", {"project": project.name}))

    with ui.element("section").classes("card"):
        raw(joined(tag("h2", f"What {project.name} may use"), tag("p", "Empty fields: no limit.", class_="muted")))
        with ui.element("div").classes("fields"):
            for name in Quotas.model_fields:
                _field(typed, name)
        with ui.element("div").classes("bar").style("margin-top: 14px"):
            button("Set quotas", store, look="primary")
        said = ui.element("div")


def _field(typed: dict[str, str], name: str) -> None:
    def note(value: object) -> None:
        typed[name] = "" if value is None else str(value)

    with ui.element("div").classes("field"):
        made = ui.input(name.replace("_", " "), value=typed[name])
        made.on_value_change(lambda event: note(event.value))
        made.props("outlined dense stack-label")


def _revoke(gateway: Gateway, card: KeyCard) -> None:
    async def do() -> None:
        await gateway.revoke(card.id)
        ui.navigate.to(with_query("/access", {"key": card.id}))

    dialog = confirm(
        f"Revoke the key {card.id}?",
        f"{card.name} is refused within 2 s, for good. What it made stays, and its jobs go on.",
        yes="Revoke it",
        action=do,
        dangerous=True,
    )
    button(f"Revoke {card.name}", dialog.open, look="danger")
