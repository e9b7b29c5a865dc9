"""Own column templates: the texts of a dataset row made from the columns of an uploaded one. Pure; no str.format.

A template is text with `{column}` in it; `{{` and `}}` stand for the braces themselves. Nothing else is read: no
attribute, index, conversion or width, so a template can reach nothing but the row.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from rlt_core.errors import InvalidDatasetError, InvalidRequestError

TARGETS = ("id", "question", "solution", "answer", "reasoning_trace")
"""Columns of the contract that a template can fill."""

MAX_TEMPLATE_CHARACTERS = 10_000
PARAM = "/columns"

_KINDS = {"dict": "object", "list": "array", "str": "string", "bool": "boolean", "int": "number", "float": "number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A parsed template: literal text and column names in turn, `literals` one longer than `columns`."""

    literals: tuple[str, ...]
    columns: tuple[str, ...]

    def render(self, row: Mapping[str, object], *, max_characters: int) -> str:
        """Fill the template from an uploaded row.

        Raises InvalidDatasetError for a column that the row lacks (naming those it has), that is no text, number or
        boolean, and for a result of more than `max_characters`.
        """
        values = [_text(row, column) for column in self.columns]
        length = sum(map(len, self.literals)) + sum(map(len, values))
        if length > max_characters:
            raise InvalidDatasetError(f"its template makes {length} characters, {max_characters} are allowed")
        pieces = [self.literals[0]]
        for value, literal in zip(values, self.literals[1:], strict=True):
            pieces += [value, literal]
        return "".join(pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMap:
    """Templates by the column that each fills; all of them read the row as uploaded."""

    templates: Mapping[str, Template]

    def apply(self, row: Mapping[str, object], *, max_characters: int) -> dict[str, object]:
        """Give the row with its mapped columns replaced; other columns stay as they are.

        Raises InvalidDatasetError, see Template.render.
        """
        mapped: dict[str, object] = {}
        for target, template in self.templates.items():
            try:
                mapped[target] = template.render(row, max_characters=max_characters)
            except InvalidDatasetError as error:
                raise InvalidDatasetError(f"{target}: {error.detail}", param=PARAM) from error
        return {**row, **mapped}


NO_COLUMNS = ColumnMap(templates={})


def parse_columns(text: str | None) -> ColumnMap:
    """Read `{"solution": "The answer is {answer}."}`; None maps nothing.

    Raises InvalidRequestError for text that is no JSON object of texts, an unknown target, or a broken template.
    """
    if text is None:
        return NO_COLUMNS
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(
            f'columns is no JSON ({error}): give an object such as {{"solution": "The answer is {{answer}}."}}',
            param=PARAM,
        ) from error
    if not isinstance(body, dict):
        raise InvalidRequestError(f"columns is a JSON {_kind(body)}: give an object of templates", param=PARAM)
    entries: dict[str, object] = body  # pyright: ignore[reportUnknownVariableType] - keys of a JSON object are texts
    return ColumnMap(templates={target: _entry(target, template) for target, template in entries.items()})


def parse_template(text: str) -> Template:
    """Split a template at its `{column}`s; raises InvalidRequestError saying where a brace is at fault."""
    literals, columns = [""], list[str]()
    position = 0
    while position < len(text):
        character = text[position]
        if character not in "{}":
            end = min((at for at in (text.find("{", position), text.find("}", position)) if at >= 0), default=len(text))
            literals[-1] += text[position:end]
            position = end
        elif text[position : position + 2] == 2 * character:
            literals[-1] += character
            position += 2
        elif character == "}":
            raise _broken(position, "a lone }: write }} for the brace itself")
        else:
            end = text.find("}", position)
            name = text[position + 1 : end] if end >= 0 else ""
            if end < 0 or "{" in name:
                raise _broken(position, "a { that is never closed: write {{ for the brace itself")
            if not name.strip():
                raise _broken(position, "{} names no column")
            columns.append(name)
            literals.append("")
            position = end + 1
    return Template(literals=tuple(literals), columns=tuple(columns))


def _entry(target: str, template: object) -> Template:
    if target not in TARGETS:
        near = difflib.get_close_matches(target, TARGETS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InvalidRequestError(
            f"columns fills {target!r}, which is no column of a dataset{hint}: use {', '.join(TARGETS)}", param=PARAM
        )
    if not isinstance(template, str):
        raise InvalidRequestError(f"the template of {target} is a JSON {_kind(template)}: give a text", param=PARAM)
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise InvalidRequestError(
            f"the template of {target} has {len(template)} characters, {MAX_TEMPLATE_CHARACTERS} are allowed",
            param=PARAM,
        )
    try:
        return parse_template(template)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"the template of {target}: {error.detail}", param=PARAM) from error


def _broken(position: int, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"at character {position + 1}, {why}", param=PARAM)


def _text(row: Mapping[str, object], column: str) -> str:
    if column not in row:
        near = difflib.get_close_matches(column, row, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InvalidDatasetError(f"there is no column {column!r}{hint}; this row has {', '.join(sorted(row))}")
    value = row[column]
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise InvalidDatasetError(f"column {column!r} is a JSON {_kind(value)}: a template takes texts and numbers")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return _KINDS.get(type(value).__name__, "value")
