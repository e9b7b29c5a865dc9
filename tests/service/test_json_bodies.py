"""A JSON body as bytes: any bytes are a value or malformed, whatever pieces they come in."""

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from rlt_core.errors import MalformedRequestError, PayloadTooLargeError
from rlt_service.json_bodies import (
    LONGEST_TOLD,
    check_announced_length,
    check_json_type,
    is_shallow,
    parse_json,
    read_bounded,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
MAX_DEPTH = 4


def nested(value: Any, containers: list[str]) -> Any:
    for container in containers:
        value = [value] if container == "list" else {"": value}
    return value


NESTED = st.builds(nested, VALUES, st.lists(st.sampled_from(["list", "object"]), max_size=6))


def depth_of(value: Any) -> int:
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return 0 if not isinstance(value, dict | list) else 1 + max(map(depth_of, children), default=0)


@given(value=NESTED, ascii_only=st.booleans())
def test_what_json_can_say_is_read_as_it_was_meant_up_to_the_depth(value: Any, ascii_only: bool) -> None:
    try:
        content = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return
    shallow = depth_of(value) <= MAX_DEPTH
    assert is_shallow(value, max_depth=MAX_DEPTH) == shallow
    if shallow:
        assert parse_json(content, max_depth=MAX_DEPTH) == value
    else:
        with pytest.raises(MalformedRequestError, match="nested deeper than the 4 levels"):
            parse_json(content, max_depth=MAX_DEPTH)


PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\u", b"d800", b"NaN", b"-", b"1e9", b"\xff", b"\x00"]
)


@given(content=st.binary(max_size=40) | st.lists(PIECES, max_size=12).map(b"".join))
def test_any_bytes_are_a_value_or_malformed(content: bytes) -> None:
    try:
        value = parse_json(content, max_depth=MAX_DEPTH)
    except MalformedRequestError as error:
        error.detail.encode()
        return
    # No NaN, no infinity, no half of a surrogate pair: it can be sent on.
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@given(
    name=st.text(min_size=1).filter(lambda name: name.isprintable()), inside=st.lists(st.sampled_from("[{"), max_size=2)
)
def test_a_name_twice_in_an_object_is_refused_however_it_is_written(name: str, inside: list[str]) -> None:
    twice = f"{{{json.dumps(name)}: 1, {json.dumps(name, ensure_ascii=False)}: 1}}"
    for opening in inside:
        twice = f"[{twice}]" if opening == "[" else f'{{"x": {twice}}}'
    with pytest.raises(MalformedRequestError, match="name each field once") as refused:
        parse_json(twice.encode(), max_depth=MAX_DEPTH)
    assert len(refused.value.detail) < LONGEST_TOLD + 100


def test_a_refusal_quotes_no_more_than_a_line_of_a_body() -> None:
    name = "x" * 10**6
    with pytest.raises(MalformedRequestError, match="at line 1") as refused:
        parse_json(f'{{"{name}": 1, "{name}": 2}}'.encode(), max_depth=MAX_DEPTH)
    assert len(refused.value.detail) < LONGEST_TOLD + 100


@given(value=VALUES)
def test_the_same_name_in_two_objects_is_fine(value: Any) -> None:
    content = json.dumps([{"a": value}, {"a": value, "b": {"a": value}}]).encode()
    assert parse_json(content, max_depth=20) == json.loads(content)


class Pieces:
    """A request whose body comes in the pieces that a test gives."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def stream(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


@given(pieces=st.lists(st.binary(max_size=8), max_size=8), max_bytes=st.integers(0, 40))
async def test_a_body_is_whole_or_too_large_whatever_its_pieces(pieces: list[bytes], max_bytes: int) -> None:
    content = b"".join(pieces)
    request = cast(Request, Pieces(pieces))
    if len(content) <= max_bytes:
        assert await read_bounded(request, max_bytes=max_bytes, max_s=60.0) == content
        return
    with pytest.raises(PayloadTooLargeError, match=f"{max_bytes} bytes"):
        await read_bounded(request, max_bytes=max_bytes, max_s=60.0)


@given(text=st.none() | st.text(max_size=30) | st.integers(0, 10**25).map(str))
def test_any_announced_length_is_passed_or_too_large(text: str | None) -> None:
    try:
        check_announced_length(text, max_bytes=1000)
    except PayloadTooLargeError:
        assert text is not None
        assert int(text[:20]) > 1000


@given(text=st.text(max_size=30))
def test_a_type_is_json_by_its_name_alone(text: str) -> None:
    for spelt in (f"application/json;{text}", "Application/JSON ", f"application/{text.replace(';', '')}+json"):
        check_json_type(spelt)
