"""Datasets: dropped onto the page, listed, read row by row."""

from pathlib import Path
from typing import Final

from nicegui import events, ui

from rlt_core.schemas.base import now_utc
from rlt_service.dashboard.addresses import number
from rlt_service.dashboard.dataset_views import described, listed, rows
from rlt_service.dashboard.frame import raw, refused
from rlt_service.dashboard.gateway import RefusedError
from rlt_service.dashboard.markup import joined, tag
from rlt_service.dashboard.tables import heading
from rlt_service.dashboard.visits import Visit

LISTED: Final = 25
WINDOW: Final = 50


async def build(visit: Visit) -> None:
    """Show the list, and a place to drop files onto."""
    page = await visit.gateway.datasets(limit=LISTED, after=visit.query.get("after"))
    limits = (await visit.gateway.capabilities()).limits
    raw(tag("h1", "Datasets"))
    with ui.element("section").classes("card"):
        raw(joined(tag("h2", "Upload"), tag("p", _FORM, class_="muted")))
        said = ui.element("div")

        async def store(event: events.UploadEventArguments) -> None:
            said.clear()
            with said:
                try:
                    found = await visit.gateway.upload(event.file.iterate(), name=Path(event.file.name).stem[:200])
                except RefusedError as error:
                    refused(error)
                    return
            ui.navigate.to(f"/datasets/{found.id}")

        upload = ui.upload(on_upload=store, auto_upload=True, max_file_size=limits.max_dataset_bytes)
        upload.props("flat accept=.jsonl,.json,.ndjson").classes("drop").add_slot("header", _DROP)
    raw(listed(page, now=now_utc()))


async def build_one(visit: Visit) -> None:
    """Show one dataset and a window of its rows."""
    id_ = visit.path["dataset_id"]
    found = await visit.gateway.dataset(id_)
    offset = number(visit.query.get("offset", "")) or 0
    window = await visit.gateway.rows(id_, offset=offset, limit=WINDOW)
    raw(heading(found.name or id_, above=("Datasets", "/datasets"), here=id_))
    raw(described(found))
    raw(rows(window, dataset_id=id_, limit=WINDOW))


_DROP: Final = """
<div class="drop-line">
  <button type="button" class="button primary" @click="props.pickFiles">Choose a file</button>
  <span>{{ props.isUploading ? "The server reads it …" : "or drop one here" }}</span>
  <label><span class="unseen">File of rows</span><q-uploader-add-trigger /></label>
</div>
"""
_FORM: Final = (
    "JSON lines, each an object with question and solution, and answer, reasoning_trace or id where there is one. "
    "One bad line, and nothing is stored: each is reported with its number."
)
