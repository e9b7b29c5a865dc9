"""Teachers and students: versions as a tree, who serves now, what was measured; promote and roll back."""

import asyncio
from typing import Final

from nicegui import ui

from rlt_core.schemas.base import Role, split_version
from rlt_core.schemas.teachers import Alias, Evaluation, Lineage, ModelVersion
from rlt_service.dashboard.frame import button, confirm, raw, refused
from rlt_service.dashboard.gateway import Gateway, RefusedError
from rlt_service.dashboard.markup import joined, tag
from rlt_service.dashboard.token_views import facts
from rlt_service.dashboard.version_tree import aliases, history, judged, tree
from rlt_service.dashboard.visits import Visit

ROLES: Final[tuple[Role, ...]] = ("teacher", "student")
SHOWN_EVALUATIONS: Final = 10
BY: Final = "dashboard"


async def build(visit: Visit) -> None:
    """Show both roles; a version of the address in full."""
    gateway, chosen = visit.gateway, visit.query.get("version")
    raw(tag("h1", "Teachers and students"))
    found = await gateway.aliases()
    versions = {role: await versions_of(gateway, role) for role in ROLES}
    with ui.element("div").classes("split"):
        with ui.element("div").classes("stack"):
            raw(tag("section", tag("h2", "Who serves now"), aliases(found), class_="card"))
            for role in ROLES:
                made = tree(versions[role], chosen=chosen)
                raw(tag("section", tag("h2", f"{role.capitalize()}s"), made, class_="card"))
        with ui.element("div").classes("stack"):
            known = {version.version: version for role in ROLES for version in versions[role]}
            if chosen in known:
                await _version(gateway, known[chosen], found)
            for alias in found:
                await _alias(gateway, alias)


async def versions_of(gateway: Gateway, role: Role) -> list[ModelVersion]:
    """Give the versions of every name of a role."""
    names = await gateway.names(role)
    pages = await asyncio.gather(*[gateway.versions(role, name.name) for name in names])
    return [version for page in pages for version in page]


async def _version(gateway: Gateway, version: ModelVersion, found: list[Alias]) -> None:
    name, number = split_version(version.version)
    lineage = await gateway.lineage(version.role, name, number)
    evaluations = await _evaluations(gateway, lineage)
    with ui.element("section").classes("card"):
        raw(joined(tag("h2", version.version), facts(_facts(version, lineage)), _links(version)))
        raw(
            joined(
                tag("h4", "Evaluations"), [judged(one) for one in evaluations] or tag("p", "None yet.", class_="muted")
            )
        )
        with ui.element("div").classes("bar").style("margin-top: 14px"):
            for alias in found:
                if alias.role == version.role and alias.version != version.version:
                    _promote(gateway, version, alias)


async def _evaluations(gateway: Gateway, lineage: Lineage) -> list[Evaluation]:
    found = await asyncio.gather(*[gateway.evaluation(id_) for id_ in lineage.evaluations[:SHOWN_EVALUATIONS]])
    return [one for one in found if isinstance(one, Evaluation)]


def _facts(version: ModelVersion, lineage: Lineage) -> list[tuple[str, str]]:
    known = [
        ("role", version.role),
        ("base", version.base_model),
        ("weights", version.weights if version.lora_rank is None else f"adapter of rank {version.lora_rank}"),
        ("format", version.format),
        ("trained from", version.parent or "\u2013"),
        ("code", lineage.code_version or "\u2013"),
    ]
    return [*known, *([("taught by", ", ".join(lineage.taught_by))] if lineage.taught_by else [])]


def _links(version: ModelVersion) -> str:
    return joined(
        tag("p", "job ", tag("a", version.job, href=f"/jobs/{version.job}")) if version.job else None,
        tag("p", "dataset ", tag("a", version.dataset, href=f"/datasets/{version.dataset}"))
        if version.dataset
        else None,
    )


def _promote(gateway: Gateway, version: ModelVersion, alias: Alias) -> None:
    async def do() -> None:
        body = {"version": version.version, "expected": alias.version, "by": BY, "reason": "promoted in the dashboard"}
        await gateway.promote(alias.role, alias.alias, body)
        ui.navigate.to(f"/models?version={version.version}")

    dialog = confirm(
        f"Promote {version.version}?",
        f"{alias.role} · {alias.alias} then serves {version.version} instead of {alias.version}. Requests in flight "
        "stay on the version that they began with.",
        yes="Promote it",
        action=do,
    )
    button(f"Promote to {alias.alias}", dialog.open)


async def _alias(gateway: Gateway, alias: Alias) -> None:
    try:
        moves = (await gateway.history(alias.role, alias.alias)).data
    except RefusedError as error:
        refused(error)
        return
    with ui.element("section").classes("card"):
        raw(joined(tag("h2", f"{alias.role} · {alias.alias}"), history(moves)))
        if moves and moves[0].previous is not None:
            _roll_back(gateway, alias, previous=moves[0].previous)


def _roll_back(gateway: Gateway, alias: Alias, *, previous: str) -> None:
    async def do() -> None:
        await gateway.roll_back(alias.role, alias.alias, {"expected": alias.version, "to": previous, "by": BY})
        ui.navigate.to("/models")

    dialog = confirm(
        f"Roll {alias.alias} back?",
        f"{alias.role} · {alias.alias} then serves {previous} again, instead of {alias.version}.",
        yes="Roll back",
        action=do,
    )
    button(f"Roll back to {previous}", dialog.open).style("margin-top: 12px")
