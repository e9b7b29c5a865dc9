"""Own what is sent to a page that stays open: the cells that have changed, and no others. Pure."""

from collections.abc import Mapping

from rlt_service.dashboard.markup import Child, Markup, tag


def live(name: str, content: Child) -> Markup:
    """Make a place whose content may be sent anew under its name."""
    return tag("div", content, data_live=name)


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Give the cells that both know and that are not the same; what is new on a page comes with its next load."""
    return {name: text for name, text in after.items() if name in before and before[name] != text}
