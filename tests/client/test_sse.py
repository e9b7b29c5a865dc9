"""Server-sent events as the SDK reads them: the same whatever pieces the network cuts them into."""

import json
from itertools import pairwise

import httpx
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from hypothesis import given
from hypothesis import strategies as st

from rlt_client._sse import ServerSentEvent, parse

PAYLOADS = st.dictionaries(st.text(max_size=5), st.text(max_size=12) | st.integers(), max_size=3).map(json.dumps)
TEXTS = st.text(alphabet=" :{}x", min_size=1, max_size=6)
EVENTS = st.tuples(st.sampled_from(["progress", "log", "delta", "done"]), PAYLOADS | TEXTS, st.integers(1, 10**6))


def read(content: bytes, cuts: list[int]) -> list[ServerSentEvent]:
    places = sorted({cut % (len(content) + 1) for cut in cuts} | {0, len(content)})
    pieces = [content[start:end] for start, end in pairwise(places)]
    return list(parse(httpx.Response(200, content=iter(pieces)).iter_lines()))


@given(
    events=st.lists(EVENTS, max_size=5),
    cuts=st.lists(st.integers(0, 10**6), max_size=20),
    silence=st.booleans(),
    crlf=st.booleans(),
    torn=st.integers(0, 30),
)
def test_events_are_the_same_whatever_pieces_they_come_in(
    events: list[tuple[str, str, int]], cuts: list[int], silence: bool, crlf: bool, torn: int
) -> None:
    written = [format_sse_event(event=kind, data_str=data, id=str(number)) for kind, data, number in events]
    content = (KEEPALIVE_COMMENT if silence else b"").join(written)
    content = content.replace(b"\n", b"\r\n") if crlf else content
    wanted = [ServerSentEvent(id=str(number), event=kind, data=data) for kind, data, number in events]
    assert read(content, cuts) == wanted
    # A connection that breaks loses the event that it tears, and no other.
    assert read(content[: len(content) - torn], cuts) == wanted[: len(read(content[: len(content) - torn], []))]


@given(content=st.binary(max_size=80), cuts=st.lists(st.integers(0, 10**6), max_size=8))
def test_any_bytes_are_events_or_none(content: bytes, cuts: list[int]) -> None:
    assert all(isinstance(event, ServerSentEvent) for event in read(content, cuts))
