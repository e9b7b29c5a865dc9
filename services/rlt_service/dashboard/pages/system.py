"""System: what the server rests on, its engines, what is in hand and what waits."""

from typing import Final

from nicegui import ui

from rlt_service.dashboard.frame import raw
from rlt_service.dashboard.gateway import Gateway, RefusedError
from rlt_service.dashboard.markup import tag
from rlt_service.dashboard.system_views import about, checks, engines, load, sums_of
from rlt_service.dashboard.visits import Visit

PERIOD_S: Final = 5.0
COUNTED: Final = 100
"""Jobs of a status that are counted; of more it says so."""


async def build(visit: Visit) -> None:
    """Show the server, and keep it fresh."""
    raw(tag("h1", "System"))
    with ui.element("div").classes("cards"):
        ready, busy = raw(), raw()
    found = await visit.gateway.capabilities()
    raw(engines(found))
    raw(about(found))

    async def refresh() -> None:
        try:
            ready.set_content(checks(await visit.gateway.readiness()))
            sums = sums_of(await visit.gateway.prometheus())
            busy.set_content(load(sums, waiting=await _waiting(visit.gateway)))
        except RefusedError:
            return  # the next round asks again; what is shown stays

    await refresh()
    ui.timer(PERIOD_S, refresh, immediate=False)


async def _waiting(gateway: Gateway) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for status in ("queued", "running", "paused"):
        page = await gateway.jobs(limit=COUNTED, status=status)
        found.append((f"jobs {status}", f"{len(page.data)}{'+' if page.has_more else ''}"))
    return found
