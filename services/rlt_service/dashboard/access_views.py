"""Own how projects, keys and the audit log are shown. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rlt_core.schemas.base import Page
from rlt_core.schemas.projects import AuditEntry, KeyCard, Project, Quotas
from rlt_service.dashboard.addresses import with_query
from rlt_service.dashboard.figures import NONE, ago, clock, count, figure, size
from rlt_service.dashboard.forms import FieldError
from rlt_service.dashboard.markup import Markup, joined, tag
from rlt_service.dashboard.tables import empty, table

LABELS: Final = {
    "requests_per_day": "Calls today",
    "tokens_per_day": "Tokens today",
    "jobs_at_once": "Jobs that have not ended",
    "gpu_hours_per_month": "GPU-hours this month",
    "disk_bytes": "Disk",
}
FRACTIONS: Final = frozenset({"gpu_hours_per_month"})
"""Quotas that need not be whole numbers."""


def projects(found: Sequence[Project]) -> Markup:
    """Write what each project has used of what it may."""
    if not found:
        return empty("No projects yet", "Keys without a project each own what they make: rlt projects create NAME.")
    rows = [
        [
            tag("a", one.name, href=with_query("/access", {"project": one.name})),
            *[_use(one, name) for name in Quotas.model_fields],
        ]
        for one in found
    ]
    return _card("Projects", table(["Name", *LABELS.values()], rows, label="Projects"))


def keys(found: Sequence[KeyCard], *, now: datetime) -> Markup:
    """Write who may call."""
    if not found:
        return empty("No keys yet", "Whoever is on this machine may do everything, until rlt keys create NAME.")
    rows = [
        [
            tag("a", one.id, href=with_query("/access", {"key": one.id}), class_="mono"),
            one.name,
            one.project or NONE,
            ", ".join(one.scopes),
            ago(one.created_at, now=now),
            "revoked" if one.revoked_at is not None else "",
        ]
        for one in found
    ]
    names = ["Key", "Name", "Project", "May", "Made", ""]
    return _card("Keys", table(names, rows, classes=["", "clip", "", "", "optional", ""], label="Keys"))


def audit(page: Page[AuditEntry], *, names: dict[str, str], of: dict[str, str | None]) -> Markup:
    """Write who did what; `names` has each project's by its id, `of` what the page is narrowed to."""
    narrowed = [f"of the {kind} {name}" for kind, name in of.items() if name]
    title = " ".join(["Who did what", *narrowed])
    if not page.data:
        return empty(title, "Nothing was changed with a key so far.")
    rows = [
        [
            f"{clock(entry.created_at)} UTC",
            tag("span", entry.key, class_="mono") if entry.key else "on the server's machine",
            names.get(entry.project or "", NONE),
            tag("span", entry.action, class_="mono"),
            tag("span", entry.subject or NONE, class_="mono"),
            NONE if entry.status is None else str(entry.status),
        ]
        for entry in page.data
    ]
    head = ["When", "Key", "Project", "What", "Subject", "Answer"]
    made = table(head, rows, classes=["", "", "optional", "", "clip", "number"], label="Audit log")
    everything = tag("a", "All entries", href="/access", class_="button") if narrowed else None
    older = with_query("/access", {**of, "after": page.last_id}) if page.has_more else None
    further = tag("a", "Older", href=older, class_="button") if older else None
    return _card(title, made, tag("nav", joined(everything, further), class_="pager", aria_label="Entries"))


def quotas_of(typed: Mapping[str, str]) -> dict[str, float | None]:
    """Read what was typed into the form of a project's quotas; empty is no limit. Raises FieldError."""
    found: dict[str, float | None] = {}
    for name in Quotas.model_fields:
        text = typed.get(name, "").strip()
        try:
            found[name] = None if not text else float(text) if name in FRACTIONS else int(text)
        except ValueError:
            wanted = "a number" if name in FRACTIONS else "a whole number"
            raise FieldError(name, f"{text!r} is not {wanted}") from None
    return found


def typed_of(quotas: Quotas) -> dict[str, str]:
    """Write quotas as they are typed."""
    return {name: "" if value is None else str(value) for name, value in quotas.model_dump().items()}


def _use(project: Project, name: str) -> Markup:
    used, limit = getattr(project.used, name), getattr(project.quotas, name)
    if limit is None:
        return tag("span", _amount(name, used))
    text = f"{_amount(name, used)} of {_amount(name, limit)}"
    bar = tag("progress", max=limit, value=min(used, limit), aria_label=text) if limit else None
    return joined(text, tag("br"), bar)


def _amount(name: str, value: float) -> str:
    if name == "disk_bytes":
        return size(value)
    return figure(value, digits=2) if name == "gpu_hours_per_month" else count(value)


def _card(title: str, *parts: Markup) -> Markup:
    return tag("section", tag("h2", title), joined(*parts), class_="card")
