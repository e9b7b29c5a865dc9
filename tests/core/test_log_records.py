import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from rlt_core import log_records
from rlt_core.log_records import PrintedLines, bind, bound

LOGGER = logging.getLogger("rlt_core.tests")


@pytest.fixture
def kept() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def written(kept: None) -> io.StringIO:
    stream = io.StringIO()
    log_records.set_up("json", stream=stream)
    return stream


def records(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_record_is_one_line_with_what_its_context_is_bound_to(written: io.StringIO) -> None:
    with bound(job="job_1", attempt=2):
        bind(step=3)
        LOGGER.warning("two\nlines, %s", "ä")
    LOGGER.info("after")
    inside, after = records(written)
    expected = {"level": "warning", "logger": LOGGER.name, "message": "two\nlines, ä"}
    assert inside.items() >= (expected | {"job": "job_1", "attempt": 2, "step": 3}).items()
    assert not {"job", "attempt", "step"} & after.keys()


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_names_what_led_to_it_and_quotes_no_input(form: str, kept: None) -> None:
    stream = io.StringIO()
    log_records.set_up(form, stream=stream)
    try:
        try:
            TypeAdapter(dict[str, int]).validate_python({"n": "CANARY"})
        except ValueError as error:
            raise ExceptionGroup("all of it", [RuntimeError("outer")]) from error
    except ExceptionGroup:
        LOGGER.exception("broke")
    text = stream.getvalue()
    for said in ("broke", "ValidationError: n: int_parsing", "RuntimeError: outer", "test_log_records.py"):
        assert said in text
    assert "CANARY" not in text.replace('{"n": "CANARY"}', "").replace('{\\"n\\": \\"CANARY\\"}', "")


def test_setting_up_twice_writes_each_record_once(written: io.StringIO) -> None:
    log_records.set_up("json", stream=written)
    LOGGER.info("once")
    assert [record["message"] for record in records(written)] == ["once"]


@pytest.mark.usefixtures("kept")
def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    log_records.set_up("json", stream=Full())
    monkeypatch.setattr("sys.stderr", PrintedLines(LOGGER))
    LOGGER.warning("lost")


def test_what_is_printed_becomes_records_line_by_line(written: io.StringIO) -> None:
    printed = PrintedLines(LOGGER)
    printed.write("half a ")
    assert records(written) == []
    print("line\n\nand another", file=printed)
    assert [record["message"] for record in records(written)] == ["half a line", "and another"]
