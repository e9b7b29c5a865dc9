"""POST /v1/explain with `stream: true`, on the fake engine."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rlt_core.errors import EngineUnavailableError
from rlt_core.schemas.explain import ExplainDone, Explanation, ExplanationDelta
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import Completion, CompletionDelta, GenerateRequest
from tests.support.control import check_problem
from tests.support.service import running_app, services_of
from tests.support.streams import Event, events_of, named, texts_of

BODY = {"question": "What is 17 + 25?", "solution": "42", "seed": 1}
TAG = "<|end_of_explanation|>"


def streamed(client: TestClient, **fields: Any) -> list[Event]:
    answer = client.post("/v1/explain", json=BODY | {"stream": True} | fields)
    assert answer.status_code == 200, answer.text
    return events_of(answer.text)


class Said(FakeEngine):
    """Says what a test gives it, cut as the test cuts it, for each index the same."""

    def __init__(self, *parts: list[int] | Exception) -> None:
        super().__init__()
        self.parts = parts

    async def generate_stream(self, request: GenerateRequest) -> AsyncGenerator[CompletionDelta | Completion]:
        said: list[int] = []
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            said += part
            yield CompletionDelta(index=0, token_ids=tuple(part), logprobs=(-1.0,) * len(part))
        yield Completion(index=0, token_ids=tuple(said), logprobs=(-1.0,) * len(said), finish_reason="length")


@pytest.mark.parametrize("path", ["/explain", "/v1/explain"])
def test_a_stream_names_its_version_and_its_kind(app_client: TestClient, path: str) -> None:
    answer = app_client.post(path, json=BODY | {"stream": True})
    assert answer.headers["RLT-Teacher-Version"] == "fake@0"
    assert answer.headers["Content-Type"].partition(";")[0] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


def test_a_stream_says_what_the_whole_answer_says(app_client: TestClient) -> None:
    events = streamed(app_client, n=3)
    whole = app_client.post("/v1/explain", json=BODY | {"n": 3}).json()
    assert sorted(named(events, "explanation"), key=lambda one: one["index"]) == whole["explanations"]
    assert texts_of(events) == {one["index"]: one["text"] for one in whole["explanations"]}
    assert len(named(events, "delta")) > 3 * 3
    (done,) = named(events, "done")
    assert events[-1][0] == "done"
    told = {"id", "created_at", "explanations"}
    assert {name: value for name, value in done.items() if name not in told} == {
        name: value for name, value in whole.items() if name not in told
    }
    assert done["explanations"] == [
        {"index": index, "finish_reason": "stop", "well_formed": True} for index in range(3)
    ]


def test_an_explanation_comes_after_all_of_its_text(app_client: TestClient) -> None:
    events = streamed(app_client, n=4)
    for index in range(4):
        own = [name for name, data in events if name != "done" and data["index"] == index]
        assert own == ["delta"] * (len(own) - 1) + ["explanation"]


def test_events_have_the_shape_of_the_contract(app_client: TestClient) -> None:
    shapes = {"delta": ExplanationDelta, "explanation": Explanation, "done": ExplainDone}
    for name, data in streamed(app_client, n=2, include=["tokens", "score"]):
        shapes[name].model_validate(data)


def test_tokens_and_scores_come_where_they_are_asked_for(app_client: TestClient) -> None:
    events = streamed(app_client, n=2, include=["tokens", "score"])
    whole = app_client.post("/v1/explain", json=BODY | {"n": 2, "include": ["tokens", "score"]}).json()
    explanations = sorted(named(events, "explanation"), key=lambda one: one["index"])
    assert [one["tokens"] for one in explanations] == [one["tokens"] for one in whole["explanations"]]
    (done,) = named(events, "done")
    assert done["score"]["scores"] == whole["score"]["scores"]
    assert named(streamed(app_client), "explanation")[0]["tokens"] is None


def test_logprobs_that_top_p_renormalised_are_computed_anew_in_a_stream_too(app_client: TestClient) -> None:
    asked = {"top_p": 0.9, "include": ["tokens"]}
    (one,) = named(streamed(app_client, **asked), "explanation")
    assert one == app_client.post("/v1/explain", json=BODY | asked).json()["explanations"][0]


@pytest.mark.parametrize("shares", [{"straddled_share": 1.0}, {"unclosed_share": 1.0}])
def test_straddling_and_unclosed_explanations_stream_as_they_are(tmp_path: Path, shares: dict[str, Any]) -> None:
    with running_app(tmp_path, engine=FakeEngine(FakeOptions(**shares))) as client:
        events = streamed(client, n=3, max_tokens=200)
        texts = {one["index"]: one["text"] for one in named(events, "explanation")}
        assert texts_of(events) == texts
        assert all("<" not in text for text in texts.values())
        ended = {(one["finish_reason"], one["well_formed"]) for one in named(events, "done")[0]["explanations"]}
        assert ended == {("stop", True) if "straddled_share" in shares else ("length", False)}


def test_a_beginning_of_the_tag_is_held_back_until_it_is_none(tmp_path: Path) -> None:
    engine = Said()
    with running_app(tmp_path, engine=engine) as client:
        encode = engine.codec.encode_text
        smile = encode("\U0001f600")
        engine.parts = (encode("a <|end_of"), encode("_line <"), smile[:2], smile[2:], encode(TAG[:-1]))
        events = streamed(client)
        assert [data["text"] for data in named(events, "delta")] == [
            "a ",
            "<|end_of_line ",
            "<",
            "\U0001f600",
            TAG[:-1],
        ]
        assert named(events, "explanation")[0]["text"] == f"a <|end_of_line <\U0001f600{TAG[:-1]}"


def test_line_breaks_of_any_kind_do_not_break_events(tmp_path: Path) -> None:
    engine = Said()
    with running_app(tmp_path, engine=engine) as client:
        text = "a\r\n\nb\u2028c\u0085d\rdata: x\n\n"
        engine.parts = tuple([token] for token in engine.codec.encode_text(text))
        assert texts_of(streamed(client)) == {0: text}


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"question": " "}, 422, "invalid_request", "/question"),
        ({"teacher": "nobody"}, 404, "model_not_found", "/teacher"),
        ({"max_tokens": 100_000}, 422, "prompt_too_long", "/max_tokens"),
    ],
)
def test_what_goes_wrong_before_the_first_event_is_an_ordinary_problem(
    app_client: TestClient, fields: dict[str, Any], status: int, code: str, param: str
) -> None:
    check_problem(app_client.post("/v1/explain", json=BODY | {"stream": True} | fields), status, code, param)


def test_an_engine_that_fails_at_once_is_a_503(tmp_path: Path) -> None:
    with running_app(tmp_path, engine=Said(EngineUnavailableError("The engine died.", retry_after_s=3))) as client:
        answer = client.post("/v1/explain", json=BODY | {"stream": True})
        check_problem(answer, 503, "engine_unavailable")
        assert answer.headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (EngineUnavailableError("The engine died."), 503, "engine_unavailable"),
        (RuntimeError("a secret of the inside"), 500, "internal_error"),
    ],
)
def test_what_goes_wrong_later_is_an_error_event_and_the_end(
    tmp_path: Path, failure: Exception, status: int, code: str
) -> None:
    with running_app(tmp_path, engine=Said([70, 71], failure)) as client:
        answer = client.post("/v1/explain", json=BODY | {"stream": True}, headers={"X-Request-Id": "mine"})
        assert answer.status_code == 200
        events = events_of(answer.text)
        assert [name for name, _ in events] == ["delta", "error"]
        problem = events[-1][1]
        assert (problem["status"], problem["code"], problem["request_id"]) == (status, code, "mine")
        assert "secret" not in answer.text
        assert services_of(client).in_hand.requests == 0


def test_a_stream_in_a_batch_is_refused_with_what_to_do(app_client: TestClient) -> None:
    answer = app_client.post("/v1/explain/batch", json={"items": [BODY, BODY | {"stream": True}]})
    good, bad = answer.json()["data"]
    assert good["object"] == "explanation.list"
    assert (bad["problem"]["status"], bad["problem"]["param"]) == (422, "/stream")
    assert "send the item alone to /v1/explain" in bad["problem"]["detail"]
