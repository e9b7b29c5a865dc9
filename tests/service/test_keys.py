"""Keys over HTTP: who is let in, what a scope allows, and that what one key made is unknown to another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from rlt_service.access.scopes import checks_among
from rlt_service.store.keys import KeyStore
from tests.support.control import JSONL, Control, control_app
from tests.support.keys import make_key

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
