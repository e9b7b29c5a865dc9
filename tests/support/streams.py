"""Read a stream of /v1/explain as any reader of server-sent events would."""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from rlt_client._sse import parse

Event = tuple[str, dict[str, Any]]


def events_of(text: str) -> list[Event]:
    """Give the events of a whole stream, by name."""
    return [(event.event, json.loads(event.data)) for event in parse(text.split("\n"))]


def texts_of(events: Iterable[Event]) -> dict[int, str]:
    """Join the deltas of each explanation."""
    texts: dict[int, str] = defaultdict(str)
    for name, data in events:
        if name == "delta":
            texts[data["index"]] += data["text"]
    return dict(texts)


def named(events: Iterable[Event], name: str) -> list[dict[str, Any]]:
    """Give the events of one name."""
    return [data for found, data in events if found == name]
