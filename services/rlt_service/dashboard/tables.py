"""Own tables, empty places and notices: the pieces of which every page is made. Pure."""

from collections.abc import Sequence
from typing import Any

from rlt_service.dashboard.markup import Markup, joined, tag


def table(
    names: Sequence[str],
    rows: Sequence[Sequence[str | Markup]],
    *,
    label: str,
    classes: Sequence[str] | None = None,
    fit: bool = False,
) -> Markup:
    """Write a table that scrolls by itself where it is wider than the page; `fit`: no wider than its content."""
    of_columns = classes or [""] * len(names)
    head = [
        tag("th", name, scope="col", class_=cls or None) if name else tag("td") for name, cls in _zip(names, of_columns)
    ]
    body = [tag("tr", [tag("td", cell, class_=cls or None) for cell, cls in _zip(row, of_columns)]) for row in rows]
    made = tag(
        "table",
        tag("thead", tag("tr", head)),
        tag("tbody", body),
        class_="rows snug" if fit else "rows",
        aria_label=label,
    )
    return tag("div", made, class_="scroll", tabindex=0, role="region", aria_label=label)


def heading(title: str, *, above: tuple[str, str], here: str) -> Markup:
    """Write a page's title under the way back to the page above it: its name and address."""
    way = tag("nav", tag("a", above[0], href=above[1]), " / ", here, class_="muted way", aria_label="Way back")
    return joined(way, tag("h1", title))


def empty(title: str, text: str, *, link: tuple[str, str] | None = None) -> Markup:
    """Say that nothing is here, and what would be."""
    way = None if link is None else tag("p", tag("a", link[1], href=link[0], class_="button"), style="margin-top: 14px")
    return tag("div", tag("h2", title), tag("p", text), way, class_="empty card")


def refusal(detail: str, *, code: str, param: str | None = None, extra: dict[str, Any] | None = None) -> Markup:
    """Write what the API refuses, with each bad line of an upload."""
    bad: list[dict[str, Any]] = (extra or {}).get("lines") or []
    lines = [tag("li", f"line {one.get('line')}: {one.get('message')}") for one in bad]
    where = f" · {param}" if param else ""
    return tag(
        "div",
        tag("p", detail),
        tag("ul", lines) if lines else None,
        tag("p", f"{code}{where}", class_="muted mono"),
        class_="notice bad",
        role="alert",
    )


def _zip(cells: Sequence[str | Markup], classes: Sequence[str]) -> list[tuple[str | Markup, str]]:
    return list(zip(cells, classes, strict=True))
