"""Keys over HTTP: who is let in, what a scope allows, and that what one key made is unknown to another."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from rlt_service.access.scopes import checks_among
from rlt_service.engine.fake_engine import FakeEngine
from rlt_service.engine.protocol import GenerateRequest, GenerateResult
from rlt_service.store.keys import KeyStore
from tests.support.control import JSONL, Control, control_app
from tests.support.keys import make_key
from tests.support.waiting import wait_until

TEXT = {"question": "2 + 3?", "solution": "5"}

PUBLIC = {"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"}
"""Probes and scrapers have no keys; the contract says nothing of anyone's work."""


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with control_app(tmp_path) as found:
        yield found


def upload(control: Control, headers: dict[str, str]) -> str:
    answer = control.http.post("/v1/datasets", content='{"question": "1?", "solution": "1"}\n', headers=headers | JSONL)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_every_route_asks_for_a_scope_or_stands_among_the_public_ones(control: Control) -> None:
    app: Any = control.http.app
    routes = [found for found in app.router.routes if isinstance(found, APIRoute)]
    open_ones = {found.path for found in routes if not checks_among(found.dependencies)}
    assert "/v1/jobs" in {found.path for found in routes}
    assert open_ones <= PUBLIC


def test_once_a_key_exists_a_call_without_one_is_refused(control: Control) -> None:
    assert control.http.get("/v1/jobs").status_code == 200
    headers = make_key(control, "train")
    refused = control.http.get("/v1/jobs")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert control.http.get("/v1/jobs", headers=headers).status_code == 200


def test_a_revoked_key_is_refused(control: Control) -> None:
    headers = make_key(control, "train")
    keys = KeyStore(control.services.database)
    keys.revoke(keys.list()[0].id)
    control.services.authenticator.forget()
    assert control.http.get("/v1/jobs", headers=headers).status_code == 401


def test_another_secret_for_a_known_id_is_refused(control: Control) -> None:
    headers = make_key(control, "train")
    forged = headers["Authorization"][:-43] + "A" * 43
    assert control.http.get("/v1/jobs", headers={"Authorization": forged}).status_code == 401


def test_a_lacking_scope_is_403_before_the_body_is_looked_at(control: Control) -> None:
    headers = make_key(control, "score")
    assert control.http.post("/v1/train", content="{", headers=headers).status_code == 403


def test_a_dataset_of_another_key_is_as_unknown_as_none(control: Control) -> None:
    mine, theirs, admin = (make_key(control, scope) for scope in ("train", "train", "admin"))
    made = upload(control, mine)
    assert control.http.get(f"/v1/datasets/{made}", headers=mine).status_code == 200
    assert control.http.get(f"/v1/datasets/{made}", headers=admin).status_code == 200
    for method, path in (("GET", ""), ("GET", "/rows"), ("DELETE", "")):
        unknown = f"ds_{'0' * 20}"
        answers = [control.http.request(method, f"/v1/datasets/{id_}{path}", headers=theirs) for id_ in (made, unknown)]
        assert [found.status_code for found in answers] == [404, 404]
        assert answers[0].json()["detail"].replace(made, unknown) == answers[1].json()["detail"]
    assert control.http.get("/v1/datasets", headers=theirs).json()["data"] == []


def test_a_kept_answer_is_replayed_to_its_own_key_alone(control: Control) -> None:
    mine, theirs = (make_key(control, "train") | {"Idempotency-Key": "same"} for _ in range(2))
    first = upload(control, mine)
    assert upload(control, mine) == first
    assert upload(control, theirs) != first
    refused = control.http.post("/v1/datasets", content="{}", headers=JSONL | {"Idempotency-Key": "same"})
    assert refused.status_code == 401


def test_a_key_over_its_rate_is_told_when_to_come_back(control: Control) -> None:
    headers = make_key(control, "train", max_per_minute=1)
    assert control.http.get("/v1/jobs", headers=headers).status_code == 200
    refused = control.http.get("/v1/jobs", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) >= 1


def test_a_key_with_as_many_calls_running_as_it_may_is_told_when_to_come_back(tmp_path: Path) -> None:
    engine = SlowEngine()
    with control_app(tmp_path, make_engine=lambda _: engine) as control, ThreadPoolExecutor(max_workers=1) as pool:
        headers = make_key(control, "explain", max_at_once=1)
        running = pool.submit(control.http.post, "/v1/explain", json=TEXT, headers=headers)
        wait_until(engine.began.is_set, what="the first call to run")
        refused = control.http.get("/v1/models", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused.headers["Retry-After"]) >= 1
        engine.go_on.set()
        assert running.result(timeout=20.0).status_code == 200
        assert control.http.get("/v1/models", headers=headers).status_code == 200


class SlowEngine(FakeEngine):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go_on = threading.Event(), threading.Event()

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self.began.set()
        while not self.go_on.is_set():
            await asyncio.sleep(0.01)
        return await super().generate(request)


def test_a_key_without_the_scope_train_sends_small_bodies_and_one_with_it_large_ones(tmp_path: Path) -> None:
    with control_app(tmp_path, max_small_body_bytes=2048, max_text_characters=10_000) as control:
        large = TEXT | {"question": "Why? " * 1000, "max_tokens": 1}
        assert control.http.post("/v1/explain", json=large).status_code != 413
        narrow, wide = make_key(control, "explain"), make_key(control, "explain", "train")
        refused = control.http.post("/v1/explain", json=large, headers=narrow)
        assert (refused.status_code, refused.json()["code"]) == (413, "payload_too_large")
        assert control.http.post("/v1/explain", json=large, headers=wide).status_code != 413


def test_a_multipart_file_is_bounded_more_tightly_without_a_key(tmp_path: Path) -> None:
    line = b'{"question": "1?", "solution": "1"}\n'
    with control_app(tmp_path, max_open_multipart_bytes=1024) as control:
        files = {"file": ("rows.jsonl", line * 100)}
        refused = control.http.post("/v1/datasets", files=files)
        assert (refused.status_code, refused.json()["code"]) == (413, "payload_too_large")
        assert control.http.post("/v1/datasets", content=line * 100, headers=JSONL).status_code == 201
        assert control.http.post("/v1/datasets", files={"file": ("rows.jsonl", line * 10)}).status_code == 201
        headers = make_key(control, "train")
        assert control.http.post("/v1/datasets", files=files, headers=headers).status_code == 201


def test_the_contract_says_which_calls_need_a_key(control: Control) -> None:
    described = control.http.get("/openapi.json").json()
    assert described["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "bearer"}
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert ("security" in operation) == (path not in PUBLIC), path
            assert {"401", "403", "429"} <= operation["responses"].keys() or path in PUBLIC, path
