import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import pytest

from rlt_client import AsyncClient, Client


@dataclass
class Canned:
    """A server of canned answers: what it was asked, and what it says next."""

    answers: list[httpx.Response | Exception] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def says(self, *answers: httpx.Response | Exception) -> None:
        self.answers += answers

    def body(self, index: int = -1) -> Any:
        return json.loads(self.requests[index].content)

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)


@pytest.fixture
def server() -> Canned:
    return Canned()


@pytest.fixture
def client(server: Canned) -> Iterator[Client]:
    with Client("http://rlt.test", transport=server.transport(), max_retries=0) as made:
        yield made


def problem(status: int, code: str, detail: str, **more: Any) -> httpx.Response:
    body = {
        "type": f"https://rlt.test/errors/{code}",
        "title": code,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "req_1",
        "error": {"message": detail, "type": "error", "code": code},
        **more,
    }
    headers = {"Retry-After": "7"} if status in (429, 503) else {}
    return httpx.Response(status, json=body, headers=headers)


@pytest.fixture
def make_problem() -> Callable[..., httpx.Response]:
    return problem


def explanations(version: str = "base@0", text: str = "Add them.", **more: Any) -> dict[str, Any]:
    return {
        "id": "exp_1",
        "object": "explanation.list",
        "created_at": "2030-01-01T00:00:00Z",
        "teacher": {"version": version},
        "format": "stratos@1",
        "engine": {"name": "fake", "version": "1"},
        "explanations": [{"index": 0, "text": text, "finish_reason": "stop", "well_formed": True}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        **more,
    }


@pytest.fixture
def make_explanations() -> Callable[..., dict[str, Any]]:
    return explanations


def job(status: str = "queued", **more: Any) -> dict[str, Any]:
    return {
        "id": "job_1",
        "kind": "rl",
        "status": status,
        "created_at": "2030-01-01T00:00:00Z",
        "spec": {"kind": "rl", "dataset": "ds_1", "target_name": "algebra"},
        **more,
    }


@pytest.fixture
def make_job() -> Callable[..., dict[str, Any]]:
    return job


CAPABILITIES: dict[str, Any] = {
    "version": "0",
    "roles": ["teacher"],
    "formats": [],
    "limits": {
        "max_body_bytes": 1_000_000,
        "max_dataset_bytes": 1,
        "max_samples": 64,
        "max_batch_items": 256,
        "max_json_depth": 9,
        "max_text_characters": 9,
    },
    "job_kinds": [],
    "models": [],
}


@dataclass(frozen=True, slots=True)
class Asking:
    """Either client before the canned server: what is said of one is said of both."""

    kind: Literal["sync", "async"]
    server: Canned

    def ask(self, work: Callable[[Any], Any], **options: Any) -> Any:
        """Give `client.some.call(…)` of a client with these options."""
        if self.kind == "sync":
            with Client("http://rlt.test", transport=self.server.transport(), **options) as client:
                return work(client)

        async def main() -> Any:
            async with AsyncClient("http://rlt.test", transport=self.server.transport(), **options) as client:
                found = work(client)
                return [item async for item in found] if hasattr(found, "__aiter__") else await found

        return asyncio.run(main())


@pytest.fixture(params=["sync", "async"])
def asking(request: pytest.FixtureRequest, server: Canned) -> Asking:
    return Asking(request.param, server)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that a client would have slept. Threads that are there already, such as an app's, go on sleeping."""
    slept: list[float] = []
    others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
    pause, pause_async = time.sleep, asyncio.sleep

    def sleep(seconds: float) -> None:
        if threading.get_ident() in others:
            pause(seconds)
        else:
            slept.append(seconds)

    async def sleep_async(seconds: float, *rest: Any) -> None:
        if threading.get_ident() in others:
            await pause_async(seconds, *rest)
        else:
            slept.append(seconds)

    monkeypatch.setattr("rlt_client._api.time.sleep", sleep)
    monkeypatch.setattr("rlt_client._async_api.asyncio.sleep", sleep_async)
    return slept
