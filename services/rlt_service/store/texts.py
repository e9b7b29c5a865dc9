"""Own which values neither database takes: text with NUL or longer than its column, numbers of more bits than theirs.

Nothing stored holds such a value. So a query that looks for one finds nothing, and a write is refused. SQLite would
take some of them, and refuses them too: what is stored can move to the other database.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.sql.compiler import SQLCompiler

from rlt_core.errors import InvalidRequestError

_MOST = 2**63 - 1
_MOST_INTEGER = 2**31 - 1
"""Of a column of 32 bits, which SQLite does not know."""
_REFUSED = re.compile("[\x00\ud800-\udfff]")
"""NUL, and halves of characters, which UTF-8 has not."""
_IN_ITS_PLACE = "\ufffd"
"""What ids and names cannot have either, and both databases can compare."""


def keep_to_what_can_be_stored(
    _connection: object, _cursor: object, statement: str, parameters: Any, context: Any, _executemany: bool
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
    if not statement.startswith("SELECT"):
        _check_columns(context)
    return statement, parameters


def _check_columns(context: Any) -> None:
    """Hold what a statement writes against the sizes of its columns; raises InvalidRequestError."""
    if not isinstance(context.compiled, SQLCompiler):  # of a migration, or written in SQL
        return
    binds: Mapping[str, Any] = context.compiled.binds
    for name, value in ((name, value) for row in context.compiled_parameters for name, value in row.items()):
        kind = binds[name].type if name in binds else None
        if isinstance(kind, String) and isinstance(value, str) and kind.length is not None and len(value) > kind.length:
            raise InvalidRequestError(
                f"{value[:40]!r}… has {len(value)} characters, and {kind.length} are kept of such a text: shorten it."
            )
        is_small = isinstance(kind, Integer) and not isinstance(kind, BigInteger)
        if is_small and isinstance(value, int) and not -_MOST_INTEGER <= value <= _MOST_INTEGER:
            raise InvalidRequestError(f"{value} has more than 32 bits: no such number is kept here.")


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
