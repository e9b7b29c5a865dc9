"""Several jobs on one plot, chosen in the list; the address says which, and what is plotted."""

import asyncio

from nicegui import ui

from rlt_service.dashboard.addresses import Comparison, JobPage
from rlt_service.dashboard.curves import MAX_POINTS, Curves, chart
from rlt_service.dashboard.figures import figure
from rlt_service.dashboard.frame import raw
from rlt_service.dashboard.job_views import KIND_NAMES, state
from rlt_service.dashboard.markup import tag
from rlt_service.dashboard.tables import empty, heading, table
from rlt_service.dashboard.visits import Visit


async def build(visit: Visit) -> None:
    """Show one series of several jobs."""
    place = Comparison.of(visit.queries.get("job", []), visit.query.get("metric"))
    raw(heading("Compare jobs", above=("Jobs", "/jobs"), here="compare"))
    if not place.jobs:
        raw(empty("Nothing chosen", "Choose jobs in the list, then compare them.", link=("/jobs", "To the jobs")))
        return
    jobs = await asyncio.gather(*[visit.gateway.job(id_) for id_ in place.jobs])
    metrics = await asyncio.gather(*[visit.gateway.metrics(id_, max_points=MAX_POINTS) for id_ in place.jobs])
    curves = [Curves.of(found) for found in metrics]
    names = sorted({name for found in curves for name in found.names})
    chosen = place.metric if place.metric in names else ("reward" if "reward" in names else next(iter(names), None))
    labels = [f"{job.name or job.id} ({job.id[-4:]})" for job in jobs]
    links = [
        tag(
            "a",
            name,
            href=Comparison(jobs=place.jobs, metric=name).address,
            aria_current="page" if name == chosen else None,
        )
        for name in names
    ]
    raw(tag("nav", links, class_="tabs", aria_label="Series"))
    if chosen is None:
        raw(empty("No curves yet", "None of these jobs has done a step."))
    else:
        series = {label: found.points(chosen) for label, found in zip(labels, curves, strict=True)}
        with ui.element("section").classes("card"):
            raw(tag("h2", chosen))
            ui.echart(chart(series, title=chosen)).classes("chart tall").props(
                f'role=img aria-label="{chosen} by step"'
            )
    rows = [
        [
            tag("a", label, href=JobPage(id=job.id).address),
            KIND_NAMES[job.kind],
            state(job),
            str(job.progress.step),
            figure(job.progress.metrics.get(chosen or "")),
        ]
        for label, job in zip(labels, jobs, strict=True)
    ]
    made = table(
        ["Job", "Kind", "Status", "Step", f"Last {chosen or 'figure'}"], rows, classes=["", "", "", "number", "number"],
        label="Compared jobs",
    )  # fmt: skip
    raw(tag("div", made, class_="card"))
