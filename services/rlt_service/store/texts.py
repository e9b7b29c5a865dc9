"""Own which values neither database takes: Postgres's text has no NUL, no integer has more than 64 bits."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rlt_core.errors import InvalidRequestError

_MOST = 2**63 - 1
_REFUSED = re.compile("[\x00\ud800-\udfff]")
"""NUL, and halves of characters, which UTF-8 has not."""


def refuse_what_cannot_be_stored(
    _connection: object, _cursor: object, _statement: str, parameters: Any, _context: object, _executemany: bool
) -> None:
    """Raise InvalidRequestError for such a parameter, before the database sees it (SQLAlchemy's event)."""
    for value in _values(parameters):
        if isinstance(value, str) and (found := _REFUSED.search(value)):
            raise InvalidRequestError(
                f"{value[:200]!r} holds the character U+{ord(found.group()):04X}, which names, ids and reasons cannot "
                "have: leave it out."
            )
        if isinstance(value, int) and not -_MOST <= value <= _MOST:
            raise InvalidRequestError(f"{str(value)[:40]} has more than 64 bits: no such number is known here.")


def _values(parameters: Any) -> Iterable[Any]:
    """Give what a statement was given: a mapping, a tuple, or several of them."""
    if isinstance(parameters, Mapping):
        yield from parameters.values()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    elif isinstance(parameters, list | tuple):
        for item in parameters:  # pyright: ignore[reportUnknownVariableType]
            if isinstance(item, Mapping | list | tuple):
                yield from _values(item)
            else:
                yield item
