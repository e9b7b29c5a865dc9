"""Own how text becomes HTML: every tag of the dashboard is made here, and all that is not Markup is escaped."""

from collections.abc import Iterable
from html import escape
from typing import Final

VOID: Final = frozenset({"br", "hr", "input"})


class Markup(str):
    """HTML that may stand in a page as it is."""

    __slots__ = ()


EMPTY: Final = Markup("")
Child = str | Iterable["Markup | str | None"] | None
Value = str | int | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """Make one element.

    `class_` is written `class`, and other underscores as hyphens. True is an attribute without a value; False and None
    are left out.
    """
    opened = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Markup(opened if name in VOID else f"{opened}{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Write parts one after another; plain text among them is escaped."""
    return Markup("".join(_written(child) for child in children))


def _written(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape(child)
    return "".join(_written(part) for part in child)


def _attribute(key: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
