"""The list of jobs: filtered and paged by the server, its figures kept fresh cell by cell."""

import json
from typing import Final

from nicegui import ui

from rlt_core.schemas.base import now_utc
from rlt_service.dashboard.addresses import JobList
from rlt_service.dashboard.frame import raw
from rlt_service.dashboard.gateway import RefusedError
from rlt_service.dashboard.job_views import filters, listed, live_cells, newer
from rlt_service.dashboard.live import changes
from rlt_service.dashboard.markup import tag
from rlt_service.dashboard.visits import Visit

ROWS: Final = 25
PERIOD_S: Final = 3.0


async def build(visit: Visit) -> None:
    """Show a page of jobs."""
    place = JobList.of(visit.query)
    page = await visit.gateway.jobs(limit=ROWS, after=place.after, status=place.status, kind=place.kind)
    start = tag("a", "Start a job", href="/jobs/new", class_="button primary")
    raw(tag("div", tag("h1", "Jobs"), start, class_="head"))
    raw(filters(place))
    news = raw()
    raw(listed(page, place, now=now_utc()))
    seen, first = live_cells(page.data), page.data[0].id if page.data else None

    async def refresh() -> None:
        nonlocal seen
        try:
            found = await visit.gateway.jobs(limit=ROWS, after=place.after, status=place.status, kind=place.kind)
        except RefusedError:
            return  # the next round asks again; what is shown stays
        now = live_cells(found.data)
        if changed := changes(seen, now):
            ui.run_javascript(f"rltPatch({json.dumps(changed)})")
        seen = seen | now
        if place.after is None and found.data and found.data[0].id != first:
            news.set_content(newer(place))

    ui.timer(PERIOD_S, refresh, immediate=False)
