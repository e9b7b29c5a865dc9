"""Cached prefixes are shared within a key or project: else an answer's time would tell what another asked."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from rlt_core.schemas.projects import Quotas
from rlt_service.engine.fake_engine import FakeEngine
from rlt_service.engine.protocol import (
    Completion,
    CompletionDelta,
    GenerateRequest,
    GenerateResult,
    SequenceScoreRequest,
    SequenceScoreResult,
)
from rlt_service.store.projects import ProjectStore
from tests.support.control import Control, control_app
from tests.support.keys import Headers, id_of, make_key

TEXT = {"question": "2 + 3?", "solution": "5"}
EXPLAIN = TEXT | {"include": ["score", "tokens"], "top_p": 0.9}
SCORE = TEXT | {"explanations": ["Add."], "teacher": "default", "baseline": True}
SOLVE = {"question": "2 + 3?"}
CHAT = {"model": "fake@0", "messages": [{"role": "user", "content": "2 + 3?"}], "max_tokens": 20}


class Watched(FakeEngine):
    """Remembers the salts that it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.salts: set[str | None] = set()
        self.calls = 0

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self._note(request)
        return await super().generate(request)

    async def generate_stream(self, request: GenerateRequest) -> AsyncGenerator[CompletionDelta | Completion]:
        self._note(request)
        async with aclosing(super().generate_stream(request)) as pieces:
            async for piece in pieces:
                yield piece

    async def score(self, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
        for request in requests:
            self._note(request)
        return await super().score(requests)

    def _note(self, request: GenerateRequest | SequenceScoreRequest) -> None:
        self.calls += 1
        self.salts.add(request.cache_salt)


@pytest.fixture
def engine() -> Watched:
    return Watched()


@pytest.fixture
def control(tmp_path: Path, engine: Watched) -> Iterator[Control]:
    with control_app(tmp_path, make_engine=lambda _: engine) as found:
        yield found


def ask(control: Control, headers: Headers) -> None:
    batch = {"items": [EXPLAIN, EXPLAIN]}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/explain", EXPLAIN), ("/v1/score", SCORE), ("/v1/explain/batch", batch), ("/v1/solve", SOLVE),
        ("/v1/chat/completions", CHAT),
    ]  # fmt: skip
    for path, body in asked:
        answer = control.http.post(path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
    for path, body, end in (("/v1/explain", EXPLAIN, "event: done"), ("/v1/chat/completions", CHAT, "[DONE]")):
        streamed = control.http.post(path, json=body | {"stream": True}, headers=headers)
        assert end in streamed.text


def test_every_request_of_a_key_carries_the_keys_own_salt(control: Control, engine: Watched) -> None:
    ask(control, {})
    assert engine.salts == {None}
    for _ in range(2):
        key = make_key(control, "explain", "score")
        check(control, engine, key, salt=id_of(key))


def test_every_request_of_a_projects_keys_carries_the_projects_salt(control: Control, engine: Watched) -> None:
    made = ProjectStore(control.services.database).create("algebra", Quotas())
    for _ in range(2):
        check(control, engine, make_key(control, "explain", "score", project="algebra"), salt=made.id)


def check(control: Control, engine: Watched, key: Headers, *, salt: str) -> None:
    engine.salts.clear()
    before = engine.calls
    ask(control, key)
    assert engine.calls > before + 10
    assert engine.salts == {salt}
