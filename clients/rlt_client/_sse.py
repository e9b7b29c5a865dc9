"""Read server-sent events from lines of text; pure, no network."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSentEvent:
    """One event; `id` is the last one seen, as the standard has it."""

    id: str
    event: str
    data: str


@dataclass(slots=True)
class _Reader:
    """What has come of the next event."""

    last_id: str = ""
    event: str = "message"
    data: list[str] = field(default_factory=list[str])

    def take(self, line: str) -> ServerSentEvent | None:
        """Take one line; gives the event that it ends, if any."""
        if not line:
            event, data = self.event, self.data
            self.event, self.data = "message", []
            return ServerSentEvent(id=self.last_id, event=event, data="\n".join(data)) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self.data.append(value)
        elif name == "event":
            self.event = value
        elif name == "id":
            self.last_id = value
        return None


def parse(lines: Iterable[str]) -> Iterator[ServerSentEvent]:
    """Give each event when its empty line comes; comments (keep-alives) and unfinished events are dropped."""
    reader = _Reader()
    for line in lines:
        if (event := reader.take(line)) is not None:
            yield event


async def aparse(lines: AsyncIterable[str]) -> AsyncIterator[ServerSentEvent]:
    """Give each event as `parse` does, from lines that are awaited."""
    reader = _Reader()
    async for line in lines:
        if (event := reader.take(line)) is not None:
            yield event
