"""Access: projects and what they have used, keys, who did what. Projects are bounded and keys made by `rlt`."""

from typing import Final

from rlt_core.schemas.base import now_utc
from rlt_service.dashboard.access_views import audit, keys, projects
from rlt_service.dashboard.frame import raw
from rlt_service.dashboard.markup import tag
from rlt_service.dashboard.visits import Visit

LISTED: Final = 50


async def build(visit: Visit) -> None:
    """Show who uses the server; the address narrows the log to a project or a key."""
    raw(tag("h1", "Access"))
    found = await visit.gateway.projects()
    raw(projects(found))
    raw(keys(await visit.gateway.keys(), now=now_utc()))
    of = {name: visit.query.get(name) or None for name in ("project", "key")}
    page = await visit.gateway.audit(limit=LISTED, after=visit.query.get("after"), **of)
    raw(audit(page, names={one.id: one.name for one in found}, of=of))
