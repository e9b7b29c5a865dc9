"""A collect whose source solves outside: a stub of such an endpoint, real scores by the fake engine's student."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from rlt_client import Client
from rlt_core.errors import EngineUnavailableError, ForbiddenError, InvalidRequestError, NotFoundError
from rlt_core.schemas.collect import CollectSpec, Source
from rlt_core.schemas.datasets import DatasetRow
from rlt_train.collecting.asking import Question
from rlt_train.collecting.chat_endpoint import ChatEndpoint
from rlt_train.collecting.keeping import keep
from rlt_train.collecting.outside import OutsideAsker, with_verdicts
from rlt_train.patience import Patience
from rlt_train.services import HttpServices
from tests.support.app_transport import AppTransport
from tests.support.control import Control, control_app
from tests.train.collecting.parts import JOB, row, spec

SOURCE: dict[str, Any] = {"name": "stub", "model": "deep", "verdict": "exact"}
ROW = row(4, answer="5")


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=512) as made:
        yield made


def said(content: str, *, finish: str = "stop", **message: Any) -> httpx.Response:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return httpx.Response(200, json={"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 30}})


class Stub:
    """An endpoint of canned answers, which notes what it was asked."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://stub.test/v1/chat/completions"
        self.asked.append(json.loads(request.content))
        self.keys.append(request.headers.get("authorization"))
        return self.answers.pop(0)

    def endpoint(self, *, key: str | None = None) -> ChatEndpoint:
        return ChatEndpoint("http://stub.test/v1", key=key, transport=httpx.MockTransport(self))


def asker(control: Control, stub: Stub, *, samples: int = 1, key: str | None = None, **source: Any) -> OutsideAsker:
    asked = spec(source=SOURCE | source, samples_per_question=samples, seed=3)
    assert asked.source is not None
    client = Client("http://localhost", transport=AppTransport(control.http))
    return OutsideAsker(
        services=HttpServices(client, job_id=JOB, attempt=1),
        endpoint=stub.endpoint(key=key),
        patience=Patience(report=lambda _: None, sleep=lambda _: None),
        spec=asked,
        source=asked.source,
        student=control.services.registry.base("student").version,
        format_id=control.services.registry.base().format,
        engine="stub",
    )


def judged(found: OutsideAsker, *, of: DatasetRow = ROW) -> Any:
    return with_verdicts(found.ask(Question(position=0, row=of)), of, source=found.source, equal=None)


def test_reasoning_is_found_scored_and_held_against_the_answer(control: Control) -> None:
    stub = Stub(
        said("<think>4 and one more.</think>The answer is \\boxed{5}."), said("<think>Guess.</think>\\boxed{6}")
    )
    found = judged(asker(control, stub, samples=2, key="secret", instruction="Think.", prompt="Q: {question}"))
    assert [sample.text for sample in found.samples] == ["4 and one more.", "Guess."]
    assert [sample.right for sample in found.samples] == [True, False]
    assert all(sample.kl_mean is None and sample.r_kl == 0.0 for sample in found.samples)
    assert all(sample.uplift is not None and sample.student_tokens > 0 for sample in found.samples)
    assert stub.keys == ["Bearer secret"] * 2
    first, second = stub.asked
    assert first["messages"] == [{"role": "system", "content": "Think."}, {"role": "user", "content": "Q: 4 + 1?"}]
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("deep", 0.7, 512)
    assert second["seed"] == first["seed"] + 1
    assert "5" not in json.dumps(first["messages"])  # nobody shows it the solution
    assert (found.spent.prompt_tokens, found.spent.generated_tokens) == (14, 60)


def test_our_own_chat_is_such_a_source(control: Control) -> None:
    control.version("pupil", role="student")
    endpoint = ChatEndpoint("http://localhost/v1", key=None, transport=AppTransport(control.http))
    found = replace(
        asker(control, Stub(), samples=2, model="pupil"),
        endpoint=endpoint,
        spec=spec(source=SOURCE | {"model": "pupil"}, samples_per_question=2, seed=3, max_tokens=128),
    )
    first = judged(found).samples[0]
    # As training had it: the thought apart from what was said.
    assert (first.text, first.finish_reason, first.well_formed) == ("Let me see.", "stop", True)
    assert first.final.startswith("The answer is ")
    answer = first.final.removeprefix("The answer is ").removesuffix(".")
    assert judged(found, of=row(4, answer=answer)).samples[0].right
    assert found.ask(Question(position=0, row=ROW)).spent.generated_tokens > 0


def test_wrong_answers_are_rejected_where_that_is_asked_for_and_counted_anyhow(control: Control) -> None:
    stub = Stub(said("<think>a</think>\\boxed{6}"), said("<think>b</think>\\boxed{5}"))
    found = judged(asker(control, stub, samples=2))
    rejecting = spec(source=SOURCE, drop=["wrong"])
    assert [sample.text for sample in keep(found, spec=rejecting).samples] == ["b"]
    assert (
        keep(found, spec=rejecting).counts["dropped_wrong"],
        keep(found, spec=spec(source=SOURCE)).counts["wrong"],
    ) == (1, 1)


def test_a_clean_up_takes_the_place_of_the_reasoning_and_the_verdict_is_the_first_answers(control: Control) -> None:
    stub = Stub(said("Five, as I said: \\boxed{5}", reasoning_content="hmm, wait, 4+1, ok"), said("Add one to four."))
    found = judged(asker(control, stub, cleanup="Write this anew for {question}: {trace}"))
    assert (found.samples[0].text, found.samples[0].right) == ("Add one to four.", True)
    assert stub.asked[1]["messages"] == [{"role": "user", "content": "Write this anew for 4 + 1?: hmm, wait, 4+1, ok"}]
    assert found.spent.generated_tokens == 60


def test_reasoning_that_never_ends_is_unclosed_and_wrong(control: Control) -> None:
    found = judged(asker(control, Stub(said("<think>and then, and then", finish="length")), cleanup="{trace}"))
    assert (found.samples[0].text, found.samples[0].well_formed, found.samples[0].right) == (
        "and then, and then",
        False,
        False,
    )


def test_a_row_without_an_answer_is_left_out_before_anybody_is_asked(control: Control) -> None:
    stub = Stub()
    found = judged(asker(control, stub), of=row(4))
    assert found.skipped is not None
    assert (found.skipped.reason, found.skipped.message, stub.asked) == ("no_answer", "the row has no answer", [])


def test_what_passes_is_asked_again_and_what_is_refused_costs_the_question(control: Control) -> None:
    stub = Stub(httpx.Response(429), httpx.Response(500), said("<think>a</think>\\boxed{5}"))
    assert judged(asker(control, stub)).samples[0].right is True
    found = judged(asker(control, Stub(httpx.Response(400, text="too long"))))
    assert found.skipped is not None
    assert found.skipped.reason == "failed"
    assert "400: too long" in found.skipped.message


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(401), ForbiddenError),
        (httpx.Response(404), NotFoundError),
        (httpx.Response(503), EngineUnavailableError),
        (httpx.Response(302, headers={"location": "http://elsewhere.test"}), InvalidRequestError),
        (httpx.Response(200, json={"choices": []}), InvalidRequestError),
        (httpx.Response(200, text="<html>"), InvalidRequestError),
    ],
)
def test_failures_are_told_by_kind(answer: httpx.Response, error: type[Exception]) -> None:
    with pytest.raises(error):
        Stub(answer).endpoint().ask([], model="deep", temperature=0.7, max_tokens=8, seed=0)


def test_an_endpoint_that_is_not_there_is_away() -> None:
    def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    endpoint = ChatEndpoint("http://stub.test/v1", key=None, transport=httpx.MockTransport(away))
    with pytest.raises(EngineUnavailableError, match="ConnectError"):
        endpoint.ask([], model="deep", temperature=0.7, max_tokens=8, seed=0)


@pytest.mark.parametrize(("field", "text"), [("prompt", "no place"), ("cleanup", "no place")])
def test_templates_without_their_place_are_refused(field: str, text: str) -> None:
    with pytest.raises(ValueError, match=field):
        Source.model_validate(SOURCE | {field: text})
    assert CollectSpec.model_validate({"kind": "collect", "dataset": "d", "source": SOURCE}).source is not None
