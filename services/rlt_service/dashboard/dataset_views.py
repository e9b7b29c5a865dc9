"""Own how datasets and their rows are shown. Pure."""

from datetime import datetime
from typing import Final

from rlt_core.schemas.base import Page
from rlt_core.schemas.datasets import Dataset, DatasetRows
from rlt_service.dashboard.addresses import with_query
from rlt_service.dashboard.figures import ago, count, moment, size
from rlt_service.dashboard.markup import Markup, joined, tag
from rlt_service.dashboard.tables import empty, table
from rlt_service.dashboard.token_views import facts

LONGEST: Final = 400
"""Characters of a cell; the rest is in the download."""


def listed(page: Page[Dataset], *, now: datetime) -> Markup:
    """Write a page of datasets."""
    if not page.data:
        return empty("No datasets yet", "Drop a file of JSON lines above: each with a question and its solution.")
    rows = [
        [
            tag("a", found.name or found.id, href=f"/datasets/{found.id}"),
            count(found.rows) if found.complete else f"{count(found.rows)}, growing",
            size(found.size_bytes),
            ", ".join(found.columns),
            ago(found.created_at, now=now),
        ]
        for found in page.data
    ]
    names = ["Name", "Rows", "Size", "Columns", "Stored"]
    older = with_query("/datasets", {"after": page.last_id}) if page.has_more else None
    return tag(
        "div",
        table(names, rows, classes=["clip", "number", "number", "optional", "optional"], label="Datasets"),
        tag("nav", tag("a", "Older", href=older, class_="button"), class_="pager", aria_label="Pages")
        if older
        else None,
        class_="card",
    )


def described(found: Dataset) -> Markup:
    """Write a dataset's head."""
    pairs = [
        ("rows", count(found.rows)),
        ("size", size(found.size_bytes)),
        ("stored", f"{moment(found.created_at)} UTC"),
    ]
    made = tag("p", "filled by ", tag("a", found.job, href=f"/jobs/{found.job}")) if found.job else None
    start = tag("a", "Train on it", href=with_query("/jobs/new", {"kind": "rl", "dataset": found.id}), class_="button")
    return tag(
        "div",
        facts(pairs),
        tag("p", found.id, " · sha256 ", found.sha256[:16], class_="muted mono"),
        made,
        tag("p", start, style="margin-top: 12px") if found.complete else None,
        class_="card",
    )


def rows(found: DatasetRows, *, dataset_id: str, limit: int) -> Markup:
    """Write a window of rows, and the ways to the windows beside it."""
    cells = [
        [
            count(found.offset + index + 1),
            tag("div", _short(row.question), class_="text"),
            tag("div", _short(row.solution), class_="text"),
            _short(row.answer or "") if row.answer else "",
        ]
        for index, row in enumerate(found.data)
    ]
    made = table(
        ["No.", "Question", "Solution", "Answer"], cells, classes=["number narrow", "", "", "optional"], label="Rows"
    )
    ways = tag(
        "nav",
        window_links(f"/datasets/{dataset_id}", found.offset, limit, more=found.has_more),
        class_="pager",
        aria_label="Rows",
    )
    return tag("div", made, ways, class_="card")


def window_links(path: str, offset: int, limit: int, *, more: bool) -> Markup:
    """Write the ways to the window before and the one after."""
    before = with_query(path, {"offset": max(0, offset - limit) or None}) if offset else None
    after = with_query(path, {"offset": offset + limit}) if more else None
    return joined(
        tag("a", "Before", href=before, class_="button", rel="prev") if before else tag("span"),
        tag("a", "After", href=after, class_="button", rel="next") if after else tag("span"),
    )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
