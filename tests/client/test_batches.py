"""Batches: cut to what the server takes, side by side, in order, and saying which failed."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import rlt_client
from rlt_client import AsyncClient, Client
from rlt_client._resources.batches import cut
from tests.client.conftest import CAPABILITIES, Asking

Bodies = Callable[..., dict[str, Any]]
Problems = Callable[..., httpx.Response]


def requests(count: int) -> list[dict[str, Any]]:
    return [{"question": f"q{number}", "solution": "s"} for number in range(count)]


def limits(**bounds: int) -> dict[str, Any]:
    return {**CAPABILITIES, "limits": {**CAPABILITIES["limits"], **bounds}}


class Echo:
    """Answers each item with its question as the text, later calls sooner."""

    def __init__(self, make: Bodies, *, most: int) -> None:
        self.make, self.most, self.open, self.widest, self.calls = make, most, 0, 0, 0

    def questions(self, request: httpx.Request) -> list[str]:
        return [item["question"] for item in json.loads(request.content)["items"]]

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/capabilities":
            return httpx.Response(200, json=limits(max_batch_items=self.most))
        self.calls += 1
        return httpx.Response(200, json={"data": [self.make(text=text) for text in self.questions(request)]})

    def delay_s(self, request: httpx.Request) -> float:
        return 0.0 if request.method == "GET" else max(0.0, 0.05 - 0.01 * int(self.questions(request)[0][1:]) / 2)

    def sync(self, request: httpx.Request) -> httpx.Response:
        self.open += 1
        self.widest = max(self.widest, self.open)
        time.sleep(self.delay_s(request))
        self.open -= 1
        return self.answer(request)

    async def awaited(self, request: httpx.Request) -> httpx.Response:
        self.open += 1
        self.widest = max(self.widest, self.open)
        await asyncio.sleep(self.delay_s(request))
        self.open -= 1
        return self.answer(request)


def test_answers_come_in_order_though_calls_end_in_another(make_explanations: Bodies) -> None:
    echo = Echo(make_explanations, most=2)
    with Client("http://rlt.test", transport=httpx.MockTransport(echo.sync)) as client:
        found = client.explain.batch(requests(9), at_once=3)
    assert [one.explanations[0].text for one in found] == [f"q{number}" for number in range(9)]
    assert (echo.calls, echo.widest) == (5, 3)


async def test_awaited_answers_come_in_order_too(make_explanations: Bodies) -> None:
    echo = Echo(make_explanations, most=2)
    async with AsyncClient("http://rlt.test", transport=httpx.MockTransport(echo.awaited)) as client:
        found = await client.explain.batch(requests(9), at_once=3)
    assert [one.explanations[0].text for one in found] == [f"q{number}" for number in range(9)]
    assert (echo.calls, echo.widest) == (5, 3)


def test_parts_hold_what_items_and_bytes_allow() -> None:
    parts = cut([b"aaaa"] * 5 + [b"b" * 50, b"c"], most_items=3, most_bytes=12)
    assert [(part.places[0], len(part.items)) for part in parts] == [(0, 2), (2, 2), (4, 1), (5, 1), (6, 1)]
    assert [len(part.items) for part in cut([b"a"] * 7, most_items=3, most_bytes=100)] == [3, 3, 1]
    assert cut([], most_items=3, most_bytes=9) == []


def test_the_limits_are_asked_for_once(asking: Asking, make_explanations: Bodies) -> None:
    both = httpx.Response(200, json={"data": [make_explanations()] * 2})
    again = httpx.Response(200, json={"data": [make_explanations()] * 2})
    asking.server.says(httpx.Response(200, json=CAPABILITIES), both, again)
    if asking.kind == "sync":
        asking.ask(lambda client: (client.explain.batch(requests(2)), client.explain.batch(requests(2))))
    else:
        asking.ask(twice)
    assert [request.method for request in asking.server.requests] == ["GET", "POST", "POST"]


async def twice(client: AsyncClient) -> None:
    for _ in range(2):
        await client.explain.batch(requests(2))


def test_a_failed_item_is_an_error_in_its_place(
    asking: Asking, make_explanations: Bodies, make_problem: Problems
) -> None:
    bad = {"index": 1, "object": "error", "problem": make_problem(422, "too_long", "too long").json()}
    asking.server.says(httpx.Response(200, json=CAPABILITIES))
    asking.server.says(httpx.Response(200, json={"data": [make_explanations(), bad, make_explanations()]}))
    first, second, third = asking.ask(lambda client: client.explain.settled(requests(3)))
    assert first.id == third.id == "exp_1"
    assert isinstance(second, rlt_client.UnprocessableEntityError)
    assert (second.index, second.code) == (1, "too_long")


def test_a_call_that_is_refused_whole_says_which_item_it_was(asking: Asking, make_problem: Problems) -> None:
    asking.server.says(httpx.Response(200, json=limits(max_batch_items=2)))
    asking.server.says(httpx.Response(200, json={"data": []}))
    asking.server.says(make_problem(422, "unknown_field", "no such field", param="/items/1/answer"))
    with pytest.raises(rlt_client.UnprocessableEntityError, match="item 3") as caught:
        asking.ask(lambda client: client.score.batch(requests(4), at_once=1))
    assert caught.value.index == 3


def test_after_a_failed_call_no_other_is_begun(asking: Asking, make_problem: Problems) -> None:
    asking.server.says(httpx.Response(200, json=limits(max_batch_items=1)), make_problem(401, "no_key", "no key"))
    with pytest.raises(rlt_client.AuthenticationError):
        asking.ask(lambda client: client.solve.batch(requests(5), at_once=1))
    assert len(asking.server.requests) == 2


def test_one_request_asks_for_no_limits(asking: Asking, make_explanations: Bodies) -> None:
    asking.server.says(httpx.Response(200, json={"data": [make_explanations()]}))
    assert len(asking.ask(lambda client: client.explain.batch(requests(1)))) == 1
