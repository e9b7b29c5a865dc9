from pathlib import Path

from rlt_core.schemas.trainer import LogEvent
from rlt_service.jobs.event_tail import EventTail


def messages(tail: EventTail) -> list[str]:
    return [event.message for event in tail.read() if isinstance(event, LogEvent)]


def line(message: str) -> str:
    return LogEvent(message=message).model_dump_json() + "\n"


def test_each_whole_line_is_read_once_and_half_a_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = EventTail(path)
    assert messages(tail) == []
    whole = line("one") + line("two é") + line("three")
    with path.open("a", encoding="utf-8") as file:
        file.write(whole[:-8])
        file.flush()
        assert messages(tail) == ["one", "two é"]
        file.write(whole[-8:])
    assert messages(tail) == ["three"]
    assert messages(tail) == []


def test_a_line_that_is_no_event_becomes_a_warning_and_holds_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("nonsense\n" + '{"type": "progress", "step": NaN}\n' + line("fine"))
    found = messages(EventTail(path))
    assert len(found) == 3
    assert found[2] == "fine"
    assert all("no event" in message for message in found[:2])
