"""Lines of an upload: what is taken, what is refused with its number, and what is written."""

import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.columns import parse_columns
from rlt_core.errors import InvalidDatasetError
from rlt_core.schemas.datasets import DatasetRow
from rlt_service.control.rows import MAX_BAD_LINES, MAX_COLUMNS, RowLimits, ValidatedRows, validate_rows

LIMITS = RowLimits(max_rows=1000, max_line_bytes=5000, max_text_characters=1000, max_depth=8)
GOOD: dict[str, Any] = {"question": "1+1?", "solution": "2"}


def validate(body: bytes, *, columns: dict[str, str] | None = None) -> tuple[ValidatedRows, list[DatasetRow], bytes]:
    target = io.BytesIO()
    mapping = parse_columns(json.dumps(columns) if columns is not None else None)
    found = validate_rows(io.BytesIO(body), target, columns=mapping, limits=LIMITS)
    written = target.getvalue()
    return found, [DatasetRow.model_validate_json(line) for line in written.splitlines()], written


def lines_of(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def refused(body: bytes, *, columns: dict[str, str] | None = None) -> list[dict[str, Any]]:
    with pytest.raises(InvalidDatasetError) as caught:
        validate(body, columns=columns)
    return caught.value.extra["lines"]


def test_rows_are_written_one_a_line_with_hash_size_and_columns() -> None:
    body = lines_of({**GOOD, "answer": "2", "level": 3}, {**GOOD, "id": "mine", "reasoning_trace": "one more"})
    found, rows, written = validate(body)
    assert [row.id for row in rows] == ["row-1", "mine"]
    assert rows[0].metadata == {"level": 3}
    assert rows[1].reasoning_trace == "one more"
    assert found.columns == ["id", "question", "solution", "answer", "reasoning_trace", "level"]
    assert (found.rows, found.size_bytes) == (2, len(written))
    assert found.sha256 == hashlib.sha256(written).hexdigest()


def test_a_last_line_without_line_feed_blank_lines_and_a_byte_order_mark_are_taken() -> None:
    body = b"\xef\xbb\xbf" + lines_of(GOOD) + b"\n  \r\n" + json.dumps(GOOD).encode()
    _, rows, _ = validate(body)
    assert [row.question for row in rows] == ["1+1?", "1+1?"]


def test_metadata_column_and_unknown_columns_are_gathered() -> None:
    _, rows, _ = validate(lines_of({**GOOD, "metadata": {"a": 1}, "b": [2]}))
    assert rows[0].metadata == {"a": 1, "b": [2]}


def test_a_null_column_counts_as_absent() -> None:
    _, rows, written = validate(lines_of({**GOOD, "answer": None, "id": None}))
    assert rows[0].answer is None
    assert b"answer" not in written


def test_columns_map_numbers_to_text_and_keep_what_they_read() -> None:
    columns = {"solution": "The answer is {answer}.", "reasoning_trace": "{solution}", "answer": "{answer}"}
    _, rows, _ = validate(lines_of({"question": "q", "solution": "s", "answer": 7}), columns=columns)
    assert (rows[0].solution, rows[0].reasoning_trace, rows[0].answer) == ("The answer is 7.", "s", "7")


def test_separators_inside_a_text_do_not_end_its_row() -> None:
    odd = "a\u2028b\x85c\x0bd\re"
    _, rows, written = validate(json.dumps({**GOOD, "question": odd}, ensure_ascii=False).encode())
    assert written.count(b"\n") == 1
    assert rows[0].question == odd


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 0


BAD_LINES: list[tuple[str, bytes, str]] = [
    ("no json", b"{", "not JSON"),
    ("python literal", b"{'question': 'q'}", "not JSON"),
    ("trailing text", b'{"question": "q", "solution": "s"} x', "not JSON"),
    ("array", b"[1]", "not a JSON object"),
    ("string", b'"q"', "not a JSON object"),
    ("NaN", b'{"question": "q", "solution": "s", "x": NaN}', "NaN is no JSON number"),
    ("infinity", b'{"question": "q", "solution": "s", "x": -Infinity}', "-Infinity is no JSON number"),
    ("overflow", b'{"question": "q", "solution": "s", "x": 1e999}', "the number 1e999 is too large"),
    ("huge integer", b'{"question": "q", "solution": "s", "x": ' + b"9" * 4500 + b"}", "not JSON that is taken"),
    ("key twice", b'{"question": "q", "solution": "s", "question": "r"}', "the key 'question' stands twice"),
    ("no question", b'{"solution": "s"}', "no question; this line has solution"),
    ("no solution", b'{"question": "q", "answer": "a"}', "no solution; this line has answer, question"),
    ("null question", b'{"question": null, "solution": "s"}', "no question"),
    ("empty object", b"{}", "no question; this line has nothing"),
    ("empty question", b'{"question": "", "solution": "s"}', "question is empty"),
    ("blank solution", b'{"question": "q", "solution": " \\n"}', "solution is empty"),
    ("empty trace", b'{"question": "q", "solution": "s", "reasoning_trace": ""}', "reasoning_trace is empty"),
    ("number as solution", b'{"question": "q", "solution": 7}', "solution must be text, not 7"),
    ("list as question", b'{"question": ["q"], "solution": "s"}', 'question must be text, not ["q"]'),
    ("number as answer", b'{"question": "q", "solution": "s", "answer": 7}', "answer must be text, not 7"),
    ("number as id", b'{"question": "q", "solution": "s", "id": 1}', "id must be text, not 1"),
    ("long id", b'{"question": "q", "solution": "s", "id": "' + b"i" * 201 + b'"}', "the id has 201 characters"),
    ("long text", b'{"question": "' + b"q" * 1001 + b'", "solution": "s"}', "question has 1001 characters, 1000"),
    ("long line", b'{"question": "q", "solution": "s", "x": "' + b"x" * 6000 + b'"}', "longer than 5000 bytes"),
    ("metadata no object", b'{"question": "q", "solution": "s", "metadata": 1}', "metadata must be an object"),
    ("metadata clash", b'{"question": "q", "solution": "s", "metadata": {"a": 1}, "a": 2}', "'a' stands both in"),
    ("invalid UTF-8", b'{"question": "\xff", "solution": "s"}', "not UTF-8 at byte 15"),
    ("lone surrogate", b'{"question": "\\ud800", "solution": "s"}', "half of a surrogate pair"),
    ("surrogate in metadata", b'{"question": "q", "solution": "s", "x": ["\\udfff"]}', "half of a surrogate pair"),
    ("surrogate in a key", b'{"question": "q", "solution": "s", "\\udfff": 1}', "half of a surrogate pair"),
    ("too deep", lines_of({**GOOD, "x": nested(8)}), "nested deeper than 8"),
    ("far too deep", b'{"question": "q", "solution": "s", "x": ' + b"[" * 2400 + b"]" * 2400 + b"}", "nested deeper"),
]


@pytest.mark.parametrize(("line", "message"), [case[1:] for case in BAD_LINES], ids=[case[0] for case in BAD_LINES])
def test_a_bad_line_is_refused_with_its_number(line: bytes, message: str) -> None:
    found = refused(lines_of(GOOD) + b"\n" + line.rstrip(b"\n") + b"\n" + lines_of(GOOD))
    assert [bad["line"] for bad in found] == [3]
    assert message in found[0]["message"]


def test_nesting_up_to_the_limit_is_taken() -> None:
    validate(lines_of({**GOOD, "x": nested(7)}))


def test_an_id_that_an_earlier_line_has_is_refused() -> None:
    found = refused(lines_of({**GOOD, "id": "a"}, {**GOOD, "id": "a"}))
    assert found == [
        {"line": 2, "message": "the id 'a' stands in an earlier line too: ids are unique"},
    ]


def test_an_id_that_a_row_without_one_would_get_is_refused() -> None:
    assert [bad["line"] for bad in refused(lines_of(GOOD, {**GOOD, "id": "row-3"}, GOOD))] == [3]


def test_every_bad_line_is_listed_up_to_the_first_hundred() -> None:
    assert [bad["line"] for bad in refused(lines_of([], GOOD, [], []))] == [1, 3, 4]
    found = refused(lines_of(*[[]] * (MAX_BAD_LINES + 50)))
    assert [bad["line"] for bad in found] == list(range(1, MAX_BAD_LINES + 1))


@pytest.mark.parametrize("body", [b"", b"\n\n", b" \r\n", b"\xef\xbb\xbf"])
def test_an_upload_without_rows_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidDatasetError, match="the upload holds no row"):
        validate(body)


def test_more_rows_than_allowed_are_refused() -> None:
    validate(lines_of(*[GOOD] * 1000))
    with pytest.raises(InvalidDatasetError, match="more than 1000 rows"):
        validate(lines_of(*[GOOD] * 1001))


def test_more_columns_than_allowed_are_refused() -> None:
    # id, question and solution are columns too
    validate(lines_of(*[{**GOOD, f"c{i}": 1} for i in range(MAX_COLUMNS - 3)]))
    found = refused(lines_of(*[{**GOOD, f"c{i}": 1} for i in range(MAX_COLUMNS - 2)]))
    assert [bad["line"] for bad in found] == [MAX_COLUMNS - 2]


def test_a_template_that_names_an_absent_column_names_those_there_are() -> None:
    found = refused(lines_of(GOOD), columns={"solution": "{anser}"})
    assert found[0]["message"] == "solution: there is no column 'anser'; this row has question, solution"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["question", "solution", "id", "metadata", "x"]), json_values)))
def test_any_json_lines_are_stored_readable_or_refused(rows: list[dict[str, Any]]) -> None:
    try:
        found, read, _ = validate(lines_of(*rows))
    except InvalidDatasetError:
        return
    assert len(read) == found.rows == len(rows)


@given(st.binary(max_size=200))
def test_any_bytes_are_stored_readable_or_refused(body: bytes) -> None:
    try:
        found, read, _ = validate(lines_of(GOOD) + body)
    except InvalidDatasetError:
        return
    assert len(read) == found.rows
