"""Own which values neither database takes: Postgres's text has no NUL, no integer has more than 64 bits.

Nothing stored holds such a text. So a query that looks for one finds nothing, and a write is refused.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from rlt_core.errors import InvalidRequestError

_MOST = 2**63 - 1
_REFUSED = re.compile("[\x00\ud800-\udfff]")
"""NUL, and halves of characters, which UTF-8 has not."""
_IN_ITS_PLACE = "\ufffd"
"""What ids and names cannot have either, and both databases can compare."""


def keep_to_what_can_be_stored(
    _connection: object, _cursor: object, statement: str, parameters: Any, _context: object, _executemany: bool
) -> tuple[str, Any]:
    """Look over what a statement is given before the database sees it (SQLAlchemy's event).

    Raises InvalidRequestError.
    """
    for value in _values(parameters):
        if isinstance(value, int) and not -_MOST <= value <= _MOST:
            raise InvalidRequestError(f"{str(value)[:40]} has more than 64 bits: no such number is known here.")
        if isinstance(value, str) and (found := _REFUSED.search(value)):
            if statement.startswith("SELECT"):
                return statement, _replaced(parameters)
            raise InvalidRequestError(
                f"{value[:200]!r} holds the character U+{ord(found.group()):04X}, which names and reasons cannot have: "
                "leave it out."
            )
    return statement, parameters


def _values(parameters: Any) -> Iterable[object]:
    """Give what a statement was given: a mapping, a tuple, or several of them."""
    if isinstance(parameters, Mapping):
        yield from cast(Mapping[str, object], parameters).values()
    elif isinstance(parameters, list | tuple):
        for item in cast(list[object], parameters):
            if isinstance(item, Mapping | list | tuple):
                yield from _values(item)
            else:
                yield item


def _replaced(parameters: Any) -> Any:
    if isinstance(parameters, Mapping):
        return {name: _replaced(value) for name, value in cast(Mapping[str, object], parameters).items()}
    if isinstance(parameters, list | tuple):
        return tuple(_replaced(value) for value in cast(list[object], parameters))
    return _REFUSED.sub(_IN_ITS_PLACE, parameters) if isinstance(parameters, str) else parameters
