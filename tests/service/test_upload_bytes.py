"""Uploads of any bytes, in any pieces: stored whole, or refused with every bad line's number, and nothing is left."""

import io
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.columns import NO_COLUMNS
from rlt_core.errors import InvalidDatasetError, InvalidRequestError, MalformedRequestError, PayloadTooLargeError
from rlt_service.control.rows import MAX_BAD_LINES, RowLimits, validate_rows
from rlt_service.control.upload import JSONL_TYPES, MAX_AROUND_BYTES, BodySink, MultipartSink
from tests.support.control import Control, control_app

LIMITS = RowLimits(max_rows=1000, max_line_bytes=200, max_text_characters=100, max_depth=8)
GOOD = b'{"question": "q", "solution": "s"}'
BAD = [
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b'{"question": "q"}',
    b"{'a': 1}",
    b"x" * 300,
    b'{"question": "q", "solution": NaN}',
]
BLANK = [b"", b" ", b"\t", b"\r"]
KINDS = st.sampled_from([GOOD, GOOD, *BAD, *BLANK])


@given(lines=st.lists(KINDS, max_size=12), ends=st.booleans())
def test_every_bad_line_is_reported_with_its_number_and_no_other(lines: list[bytes], ends: bool) -> None:
    body = b"\n".join(lines) + (b"\n" if ends else b"")
    bad = [number for number, line in enumerate(lines, start=1) if line in BAD]
    good = lines.count(GOOD)
    target = io.BytesIO()
    told: list[int] | None = None
    try:
        found = validate_rows(io.BytesIO(body), target, columns=NO_COLUMNS, limits=LIMITS)
    except InvalidDatasetError as error:
        told, found = [line["line"] for line in error.extra.get("lines", [])], None
    if found is None:
        assert told == bad[:MAX_BAD_LINES]
        assert bad or not good
        return
    assert (bad, found.rows) == ([], good)
    assert target.getvalue().count(b"\n") == good


def pieces_of(content: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(content) + 1) for cut in cuts} | {0, len(content)})
    return [content[start:end] for start, end in pairwise(places)]


CUTS = st.lists(st.integers(0, 10**6), max_size=12)
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n'
FILES = st.binary(max_size=60) | st.sampled_from([b"\r\n--", b"\r\n--c--", b"--b", b"\n--b--\n", b"\r\n--b\r"])


def received(body: bytes, cuts: list[int], *, max_bytes: int) -> bytes:
    file = io.BytesIO()
    sink = MultipartSink(BodySink(file, max_bytes=max_bytes), boundary=b"b", max_bytes=max_bytes)
    try:
        for piece in pieces_of(body, cuts):
            sink.write(piece)
        sink.close()
    finally:
        assert len(file.getvalue()) <= max_bytes
    return file.getvalue()


@given(content=FILES, cuts=CUTS, max_bytes=st.integers(0, 80))
def test_a_file_in_a_form_comes_as_it_was_sent_whatever_its_pieces(
    content: bytes, cuts: list[int], max_bytes: int
) -> None:
    if b"\r\n--b" in content:
        return  # the boundary is one that the file does not hold
    body = HEAD + content + b"\r\n--b--\r\n"
    if len(content) <= max_bytes:
        assert received(body, cuts, max_bytes=max_bytes) == content
        return
    with pytest.raises(PayloadTooLargeError):
        received(body, cuts, max_bytes=max_bytes)


@given(
    body=st.lists(
        st.binary(max_size=20)
        | st.sampled_from([HEAD, b"--b", b"--b--", b"\r\n", b"Content-Disposition: ", b'"', b";"]),
        max_size=8,
    ).map(b"".join),
    cuts=CUTS,
)
def test_any_form_is_a_file_or_refused(body: bytes, cuts: list[int]) -> None:
    told = ""
    try:
        received(body, cuts, max_bytes=30)
    except (MalformedRequestError, InvalidRequestError, PayloadTooLargeError) as error:
        told = error.detail
    assert told.isprintable()


def test_what_stands_around_a_file_is_bounded() -> None:
    with pytest.raises(PayloadTooLargeError, match="send the file alone"):
        received(b"--b\r\nX: " + b"x" * MAX_AROUND_BYTES, [], max_bytes=0)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_dataset_bytes=1024) as made:
        yield made


def kept(control: Control) -> list[str]:
    return sorted(str(path) for path in control.services.artifacts.root.rglob("*") if path.is_file())


ROWS = st.fixed_dictionaries({"question": st.text(max_size=5), "solution": st.text(max_size=5)}).map(
    lambda row: json.dumps(row).encode()
)
BODIES = st.lists(ROWS | KINDS | st.binary(max_size=30), max_size=6).map(b"\n".join)


@given(
    body=BODIES | BODIES.map(lambda content: HEAD + content + b"\r\n--b--\r\n"),
    cuts=CUTS,
    media_type=st.sampled_from([*JSONL_TYPES, "multipart/form-data; boundary=b"]) | st.text(max_size=20),
    name=st.none() | st.text(max_size=10),
)
def test_any_upload_is_stored_whole_or_leaves_nothing(
    control: Control, body: bytes, cuts: list[int], media_type: str, name: str | None
) -> None:
    before = kept(control)
    query: dict[str, Any] = {} if name is None else {"name": name.encode("utf-8", errors="replace").decode()}
    sent = media_type.encode("utf-8", errors="replace").translate(None, b"\r\n\x00")
    answer = control.http.post(
        "/v1/datasets",
        content=iter(pieces_of(body, cuts)),
        headers={"Content-Type": sent},  # pyright: ignore[reportArgumentType] - bytes as they go over the wire
        params=query,
    )
    assert answer.status_code in (201, 400, 413, 415, 422), answer.text
    if answer.status_code != 201:
        assert kept(control) == before
        return
    stored = answer.json()
    assert len(kept(control)) == len(before) + 1
    rows = control.http.get(f"{answer.headers['location']}/rows").json()
    assert (rows["total"], len(rows["data"])) == (stored["rows"], stored["rows"])
    control.http.delete(answer.headers["location"])
