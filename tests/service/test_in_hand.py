"""What a server takes in hand: so many requests, so many tokens, and not more."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from rlt_core.errors import InvalidRequestError, OverloadedError
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.in_hand import InHand, Load
from tests.support.control import check_problem
from tests.support.service import codec_of, make_app, running_app, serving

GOOD = {"question": "What is 17 + 25?", "solution": "42"}


def load(requests: int, tokens: int) -> Load:
    return Load(requests=requests, tokens=tokens)


@pytest.mark.parametrize("more", [load(2, 10), load(1, 60)])
def test_above_the_requests_or_the_tokens_callers_are_told_to_come_back(more: Load) -> None:
    in_hand = InHand(max_requests=3, max_tokens=100)
    with in_hand.taken(load(2, 50)):
        with pytest.raises(OverloadedError, match="2 requests of 50 tokens are in hand"), in_hand.taken(more):
            pass
        with in_hand.taken(load(1, 50)):
            assert (in_hand.requests, in_hand.tokens) == (3, 100)
    assert (in_hand.requests, in_hand.tokens) == (0, 0)


@pytest.mark.parametrize("asked", [load(4, 10), load(1, 101)])
def test_what_no_waiting_makes_room_for_is_refused_for_good(asked: Load) -> None:
    in_hand = InHand(max_requests=3, max_tokens=100)
    with pytest.raises(InvalidRequestError, match="send it in parts"), in_hand.taken(asked):
        pass


def test_the_rest_of_a_call_that_has_begun_is_counted_and_not_refused() -> None:
    in_hand = InHand(max_requests=3, max_tokens=100)
    with in_hand.taken(load(2, 50)), in_hand.taken(load(9, 200), begun=True):
        assert (in_hand.requests, in_hand.tokens) == (11, 250)
        with pytest.raises(OverloadedError), in_hand.taken(load(1, 1)):
            pass
    assert (in_hand.requests, in_hand.tokens) == (0, 0)


def test_the_score_of_an_explanation_is_the_rest_of_its_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    taken = InHand.taken

    def noted(self: InHand, load: Load, *, begun: bool = False) -> Any:
        seen.append(begun)
        return taken(self, load, begun=begun)

    monkeypatch.setattr(InHand, "taken", noted)
    with running_app(tmp_path) as client:
        assert explained(client, GOOD | {"include": ["score"]}).status_code == 200
        assert client.post("/v1/score", json=GOOD | {"explanations": ["Look."]}).status_code == 200
    assert seen == [False, True, False]


def test_a_generation_counts_its_prompt_and_its_longest_completion(tmp_path: Path) -> None:
    with running_app(tmp_path, max_queued_tokens=2000) as client:
        prompt = len(codec_of(client).teacher_sequence(question="?", solution="42").token_ids)
        body = {"question": "?", "solution": "42", "n": 2}
        assert explained(client, body | {"max_tokens": 1000 - prompt}).status_code == 200
        refused = check_problem(explained(client, body | {"max_tokens": 1001 - prompt}), 422, "invalid_request")
        assert "2 generations or scores of 2002 tokens" in refused["detail"]


def test_a_score_counts_its_sequences(tmp_path: Path) -> None:
    with running_app(tmp_path, max_queued_tokens=1000) as client:
        body = {"question": "?", "solution": "42", "explanations": ["word " * 30]}
        assert client.post("/v1/score", json=body).status_code == 200
        check_problem(client.post("/v1/score", json=body | {"explanations": ["word " * 300]}), 422, "invalid_request")


async def test_tokens_in_hand_make_a_server_answer_429_with_a_time_to_come_back(tmp_path: Path) -> None:
    engine = FakeEngine(FakeOptions(delay_s=30.0))
    app = make_app(tmp_path, engine=engine, max_queued_tokens=1000)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rlt.test") as client,
    ):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        first = asyncio.create_task(client.post("/v1/explain", json=GOOD))
        await until_at_work(engine)
        for path, body in (("explain", {"stream": True}), ("score", {"explanations": ["word " * 50]})):
            refused = await client.post(f"/v1/{path}", json=GOOD | body)
            assert check_problem(refused, 429, "overloaded")["retryable"]
            assert refused.headers["Retry-After"] == "2"
        first.cancel()


async def until_at_work(engine: FakeEngine) -> None:
    """Wait until the engine has a call in flight: before, room is held for the least that it may ask."""
    async with asyncio.timeout(30.0):
        while not (await engine.health()).in_flight:
            await asyncio.sleep(0.01)


class CountingCodec:
    """A codec that counts the sequences which it encodes."""

    def __init__(self, codec: Any) -> None:
        self._codec = codec
        self.sequences = 0

    def __getattr__(self, name: str) -> Any:
        """Count on the way to the codec."""
        if name in ("teacher_sequence", "student_sequence"):
            self.sequences += 1
        return getattr(self._codec, name)


class CountingEngine(FakeEngine):
    """Takes a minute for anything, and counts what is tokenised for it."""

    def __init__(self) -> None:
        super().__init__(FakeOptions(delay_s=60.0))
        self.counted: Any = None

    @property
    def codec(self) -> Any:
        self.counted = self.counted or CountingCodec(super().codec)
        return self.counted


async def test_a_call_that_is_refused_for_want_of_room_is_not_tokenised(tmp_path: Path) -> None:
    engine = CountingEngine()
    app = make_app(tmp_path, engine=engine, max_queued_requests=1)
    async with serving(app) as client:
        first = asyncio.create_task(client.post("/v1/explain", json=GOOD))
        await until_at_work(engine)
        before = engine.counted.sequences
        for path, body in (("explain", {}), ("explain", {"stream": True}), ("score", {"explanations": ["One."]})):
            check_problem(await client.post(f"/v1/{path}", json=GOOD | body), 429, "overloaded")
        assert engine.counted.sequences == before
        first.cancel()


async def test_a_call_that_is_refused_for_want_of_room_is_looked_up_nowhere(tmp_path: Path) -> None:
    engine = FakeEngine(FakeOptions(delay_s=60.0))
    app = make_app(tmp_path, engine=engine, max_queued_requests=1)
    async with serving(app) as client:
        first = asyncio.create_task(client.post("/v1/explain", json=GOOD))
        await until_at_work(engine)
        # Nobody has these names, which only a look into the database could tell.
        for path, body in (
            ("explain", {"teacher": "nobody"}),
            ("score", {"student": "nobody", "explanations": ["One."]}),
            ("solve", {"student": "nobody"}),
        ):
            asked = {"question": GOOD["question"]} if path == "solve" else GOOD
            check_problem(await client.post(f"/v1/{path}", json=asked | body), 429, "overloaded")
        first.cancel()


def explained(client: TestClient, body: dict[str, Any]) -> Any:
    return client.post("/v1/explain", json=body)
