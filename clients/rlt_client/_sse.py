"""Read server-sent events from lines of text; pure, no network."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSentEvent:
    """One event; `id` is the last one seen, as the standard has it."""

    id: str
    event: str
    data: str


def parse(lines: Iterable[str]) -> Iterator[ServerSentEvent]:
    """Give each event when its empty line comes; comments (keep-alives) and unfinished events are dropped."""
    last_id, event, data = "", "message", list[str]()
    for line in lines:
        if not line:
            if data:
                yield ServerSentEvent(id=last_id, event=event, data="\n".join(data))
            event, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            event = value
        elif field == "id":
            last_id = value
