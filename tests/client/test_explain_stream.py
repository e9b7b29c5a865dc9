"""`client.explain.stream` and `rlt explain --stream`: on canned streams, and on the real app."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import rlt_client
from rlt_client import Client
from rlt_client.cli import main
from rlt_core.schemas.explain import ExplainDone, ExplainEvent, Explanation, ExplanationDelta
from tests.client.conftest import Canned
from tests.support.app_transport import AppTransport
from tests.support.service import running_app

Bodies = Callable[..., dict[str, Any]]
Problems = Callable[..., httpx.Response]
Rlt = Callable[..., int]
ASKED: dict[str, Any] = {"question": "2 + 3?", "solution": "5"}
TEXT = "Add [bold]them[/bold]:\u2028 5."


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with (
        running_app(tmp_path_factory.mktemp("home")) as app,
        Client("http://testserver", transport=AppTransport(app)) as made,
    ):
        yield made


@pytest.fixture
def rlt(server: Canned) -> Rlt:
    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["--base-url", "http://rlt.test", *arguments], transport=server.transport())
        code = ended.value.code
        return code if isinstance(code, int) else 0

    return run


def whole(index: int = 0, **more: Any) -> tuple[str, dict[str, Any]]:
    return "explanation", {"index": index, "text": TEXT, "finish_reason": "stop", "well_formed": True, **more}


def answer(*events: tuple[str, Any]) -> httpx.Response:
    text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


def deltas(index: int = 0) -> list[tuple[str, dict[str, Any]]]:
    return [("delta", {"index": index, "text": TEXT[start : start + 5]}) for start in range(0, len(TEXT), 5)]


@pytest.fixture
def done(make_explanations: Bodies) -> tuple[str, dict[str, Any]]:
    ends = [{"index": 0, "finish_reason": "stop", "well_formed": True, "later": 1}]
    return "done", make_explanations(explanations=ends)


def joined(events: list[ExplainEvent], index: int) -> str:
    return "".join(event.text for event in events if isinstance(event, ExplanationDelta) and event.index == index)


def test_a_stream_is_asked_for_and_read_to_its_end(client: Client, server: Canned, done: tuple[str, Any]) -> None:
    server.says(answer(*deltas(), whole(), done))
    events = list(client.explain.stream(**ASKED, n=1, seed=3))
    assert server.body() == ASKED | {"n": 1, "seed": 3, "stream": True}
    assert joined(events, 0) == TEXT
    assert isinstance(events[-2], Explanation)
    assert isinstance(events[-1], ExplainDone)
    assert events[-1].teacher.version == "base@0"


def test_a_refused_stream_is_the_error_of_any_call(client: Client, server: Canned, make_problem: Problems) -> None:
    server.says(make_problem(422, "invalid_request", "question is empty", param="/question"))
    with pytest.raises(rlt_client.UnprocessableEntityError) as caught:
        list(client.explain.stream(**ASKED))
    assert caught.value.param == "/question"


def test_an_error_in_the_middle_is_raised_after_what_came(
    client: Client, server: Canned, make_problem: Problems
) -> None:
    server.says(answer(*deltas(), ("error", make_problem(504, "deadline_exceeded", "too late").json())))
    events: list[ExplainEvent] = []
    with pytest.raises(rlt_client.InternalServerError, match="too late") as caught:
        events.extend(iter(client.explain.stream(**ASKED)))
    assert (caught.value.status, caught.value.code) == (504, "deadline_exceeded")
    assert joined(events, 0) == TEXT


def test_a_stream_that_breaks_off_is_no_answer(client: Client, server: Canned) -> None:
    server.says(answer(*deltas(), whole()))
    with pytest.raises(rlt_client.APIConnectionError, match="broke off"):
        list(client.explain.stream(**ASKED))


@pytest.mark.parametrize("event", [("surprise", {}), ("delta", {"index": 0})])
def test_a_stream_of_something_else_is_named(client: Client, server: Canned, event: tuple[str, Any]) -> None:
    server.says(answer(event))
    with pytest.raises(rlt_client.APIResponseValidationError, match="RLT server"):
        list(client.explain.stream(**ASKED))


def test_the_real_app_streams_what_it_answers(real: Client) -> None:
    asked: dict[str, Any] = {**ASKED, "n": 3, "seed": 1, "include": ["tokens", "score"]}
    events = list(real.explain.stream(**asked))
    expected = real.explain(**asked)
    told = sorted((event for event in events if isinstance(event, Explanation)), key=lambda event: event.index)
    assert told == expected.explanations
    assert [joined(events, index) for index in range(3)] == [made.text for made in expected.explanations]
    assert isinstance(events[-1], ExplainDone)
    assert events[-1].score is not None


def test_the_command_prints_one_explanation_as_it_comes(
    rlt: Rlt, server: Canned, done: tuple[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server.says(answer(*deltas(), whole(well_formed=False, finish_reason="length"), done))
    assert rlt("explain", "-q", "q", "-s", "s", "--stream") == 0
    out = capsys.readouterr().out
    assert out.startswith(TEXT)
    assert "closing tag missing" in out
    assert "base@0 · fake 1" in out
    assert server.body()["stream"] is True


def test_the_command_prints_several_explanations_one_after_the_other(
    rlt: Rlt, server: Canned, done: tuple[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server.says(answer(*deltas(1), *deltas(0), whole(1), whole(0), done))
    assert rlt("explain", "-q", "q", "-s", "s", "-n", "2", "--stream") == 0
    out = capsys.readouterr().out
    assert out.count(TEXT) == 2
    assert out.index("[2/2]") < out.index("[1/2]")


def test_the_command_writes_every_event_as_a_line_of_json(
    rlt: Rlt, server: Canned, done: tuple[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server.says(answer(*deltas(), whole(), done))
    assert rlt("explain", "-q", "q", "-s", "s", "--stream", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.split("\n") if line]
    assert len(lines) == len(deltas()) + 2
    assert lines[-1]["object"] == "explanation.list"
