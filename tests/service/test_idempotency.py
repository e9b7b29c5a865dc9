"""The same call twice: one effect, the first answer again, whatever comes between."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from rlt_core.errors import StorageUnavailableError
from rlt_core.schemas.base import now_utc
from rlt_service.engine.protocol import Weights
from rlt_service.store.idempotency import FirstAnswer, FirstAnswers
from rlt_service.store.shadows import Outcome, ShadowPair
from rlt_service.store.tables import IdempotentCallRow
from tests.support.control import JSONL, ROWS, Control, check_problem, control_app, evaluation_row
from tests.support.engines import Workshop
from tests.support.service import make_app, serving

UPLOAD = "".join(json.dumps(row) + "\n" for row in ROWS)
EXPLAIN = {"question": "1+1?", "solution": "2"}


@pytest.fixture
def control(tmp_path: Path, database_url: str) -> Iterator[Control]:
    with control_app(tmp_path, database_url=database_url) as control:
        yield control


def spec(control: Control, **more: Any) -> dict[str, Any]:
    return {"kind": "rl", "dataset": control.upload(), "target_name": "made", **more}


def train(control: Control, body: dict[str, Any], *, key: str = "once") -> Any:
    return control.http.post("/v1/train", json=body, headers={"Idempotency-Key": key})


def count_jobs(control: Control) -> int:
    return len(control.http.get("/v1/jobs").json()["data"])


def test_the_same_submission_again_gets_the_first_answer_and_makes_no_second_job(control: Control) -> None:
    body = spec(control)
    first, second = (train(control, body) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert (first.content, first.headers["location"]) == (second.content, second.headers["location"])
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert count_jobs(control) == 1
    assert train(control, body, key="twice").json()["id"] != first.json()["id"]


def test_the_first_answer_stays_what_it_was_while_the_job_goes_on(control: Control) -> None:
    body = spec(control)
    job = train(control, body).json()["id"]
    control.http.post(f"/v1/jobs/{job}/cancel")
    assert train(control, body).json()["status"] == "queued"


@pytest.mark.parametrize("change", ["body", "query", "path"])
def test_a_key_is_for_one_call_alone(control: Control, change: str) -> None:
    body = spec(control)
    train(control, body)
    other = body | {"steps": 11} if change == "body" else body
    url = {"query": "/v1/train?dry_run=true", "path": "/train"}.get(change, "/v1/train")
    answer = control.http.post(url, json=other, headers={"Idempotency-Key": "once"})
    check_problem(answer, 422, "idempotency_key_reused", "/Idempotency-Key")
    assert count_jobs(control) == 1


def test_a_call_that_failed_may_be_mended_and_sent_with_the_same_key(control: Control) -> None:
    body = spec(control)
    check_problem(train(control, body | {"steps": 0}), 422, "invalid_request", "/steps")
    assert train(control, body).status_code == 202


def test_an_upload_and_a_registration_are_carried_out_once(control: Control) -> None:
    headers = JSONL | {"Idempotency-Key": "upload"}
    made = [control.http.post("/v1/datasets", content=UPLOAD, headers=headers) for _ in range(2)]
    assert [answer.json() for answer in made] == [made[0].json()] * 2
    assert len(control.http.get("/v1/datasets").json()["data"]) == 1
    control.import_folder("given")
    register = {"url": "/v1/teachers/given/versions", "json": {"folder": "given"}}
    done = [control.http.post(**register, headers={"Idempotency-Key": "register"}) for _ in range(2)]
    assert [answer.json()["version"] for answer in done] == ["given@1"] * 2
    assert [answer.headers.get("idempotency-replayed") for answer in done] == [None, "true"]


def form(control: Control, content: str, *, key: str = "form", file: str = "rows.jsonl", query: str = "") -> Any:
    """Send a file in a form, with a boundary of its own as clients choose one for each call."""
    return control.http.post(f"/v1/datasets{query}", files={"file": (file, content)}, headers={"Idempotency-Key": key})


def test_a_file_in_a_form_makes_one_dataset_whatever_the_boundary(control: Control) -> None:
    first, second = form(control, UPLOAD), form(control, UPLOAD, file="the same.jsonl")
    assert [answer.status_code for answer in (first, second)] == [201, 201], second.text
    boundaries = [answer.request.headers["content-type"] for answer in (first, second)]
    assert boundaries[0] != boundaries[1]
    assert (second.content, second.headers["location"]) == (first.content, first.headers["location"])
    assert [answer.headers.get("idempotency-replayed") for answer in (first, second)] == [None, "true"]
    assert len(control.http.get("/v1/datasets").json()["data"]) == 1


@pytest.mark.parametrize("other", ["content", "query", "raw", "cut", "no boundary"])
def test_a_key_of_a_form_is_for_that_file_alone(control: Control, other: str) -> None:
    assert form(control, UPLOAD).status_code == 201
    keyed = {"Idempotency-Key": "form"}
    multipart = {"Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    answers: dict[str, Any] = {
        "content": lambda: form(control, UPLOAD + UPLOAD.replace("One more", "Two more")),
        "query": lambda: form(control, UPLOAD, query="?name=other"),
        "raw": lambda: control.http.post("/v1/datasets", content=UPLOAD, headers=JSONL | keyed),
        "cut": lambda: control.http.post("/v1/datasets", content=head + UPLOAD.encode(), headers=multipart | keyed),
        "no boundary": lambda: control.http.post(
            "/v1/datasets", content=UPLOAD, headers=keyed | {"Content-Type": "multipart/form-data"}
        ),
    }
    check_problem(answers[other](), 422, "idempotency_key_reused", "/Idempotency-Key")
    assert len(control.http.get("/v1/datasets").json()["data"]) == 1


def test_a_form_that_was_refused_may_be_mended_and_sent_with_the_same_key(control: Control) -> None:
    check_problem(form(control, "{"), 422, "invalid_dataset")
    assert form(control, UPLOAD).status_code == 201


async def test_a_form_that_still_comes_is_in_progress(tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "form", "Content-Type": "multipart/form-data; boundary=b"}
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + UPLOAD.encode()
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield body
        begun.set()
        await may_end.wait()
        yield b"\r\n--b--\r\n"

    async with serving(make_app(tmp_path)) as client:
        first = asyncio.create_task(client.post("/v1/datasets", content=slowly(), headers=headers))
        await begun.wait()
        again = await client.post("/v1/datasets", content=body + b"\r\n--b--\r\n", headers=headers)
        check_problem(again, 409, "idempotency_in_progress")
        may_end.set()
        assert (await first).status_code == 201
        assert len((await client.get("/v1/datasets")).json()["data"]) == 1


def test_a_hundred_of_the_same_submission_at_once_make_one_job(control: Control) -> None:
    body = spec(control)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: train(control, body), range(100)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"idempotency_in_progress"}
    assert count_jobs(control) == 1


def test_a_server_killed_between_the_job_and_its_answer_knows_the_answer(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise StorageUnavailableError("in the place of a kill")

    monkeypatch.setattr(FirstAnswers, "save", killed)
    body = spec(control)
    first, second = (train(control, body) for _ in range(2))
    assert second.headers["idempotency-replayed"] == "true"
    assert (first.json(), first.headers["location"]) == (second.json(), second.headers["location"])
    assert count_jobs(control) == 1


DEFAULT = "/v1/aliases/teacher/default"


def collect_pairs(control: Control, candidate: str) -> None:
    """Let a shadow of the default alias have answered two questions."""
    served, shadows = control.alias("teacher", "default"), control.services.shadows
    shadows.put("default", candidate, share=1.0, max_in_flight=1, student="default")
    pairs = [
        [evaluation_row(version=version, number=number, reward=-1.0) for version in (served, candidate)]
        for number in range(2)
    ]
    student = control.alias("student", "default")
    found = [ShadowPair(before=before, after=after, student=student) for before, after in pairs]
    shadows.record([Outcome(alias="default", version=candidate, fate="answered", pair=pair) for pair in found])


def call_of(control: Control, what: str) -> dict[str, Any]:
    """Lay what a call has its effect on, and give the call."""
    made, served = control.version("algebra"), control.alias("teacher", "default")
    if what == "evaluation":
        collect_pairs(control, made)
        return {"method": "POST", "url": f"{DEFAULT}/shadow/evaluation"}
    if what == "move":
        return {"method": "PUT", "url": DEFAULT, "json": {"version": made, "expected": served}}
    control.services.registry.move_alias("teacher", "default", made, expected=served, reason="better")
    return {"method": "POST", "url": f"{DEFAULT}/rollback", "json": {"expected": made}}


def effects(control: Control) -> int:
    """Count evaluations of the one version that was made, and all moves of the alias."""
    registry = control.services.registry
    return len(registry.lineage("algebra@1").evaluations) + len(registry.alias_history("teacher", "default").data)


@pytest.mark.parametrize("what", ["evaluation", "move", "rollback"])
def test_a_server_killed_between_an_effect_and_its_answer_knows_the_answer(
    control: Control, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def killed(*_: object) -> None:
        raise StorageUnavailableError("in the place of a kill")

    monkeypatch.setattr(FirstAnswers, "save", killed)
    call = call_of(control, what)
    before = effects(control)
    first, second = (control.http.request(**call, headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201 if what == "evaluation" else 200, first.status_code)
    assert second.headers["idempotency-replayed"] == "true"
    assert (first.json(), first.headers.get("location")) == (second.json(), second.headers.get("location"))
    assert effects(control) == before + 1


def test_two_processes_with_the_same_call_make_one_evaluation(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    call: dict[str, Any] = call_of(control, "evaluation") | {"headers": {"Idempotency-Key": "once"}}
    before = effects(control)
    assert control.http.request(**call).status_code == 201
    monkeypatch.setattr(FirstAnswers, "find", lambda *_: None)  # the other had not finished when this one looked
    check_problem(control.http.request(**call), 409, "idempotency_in_progress")
    assert effects(control) == before + 1


@pytest.mark.parametrize("what", ["move", "rollback"])
def test_a_call_that_the_same_call_on_another_server_was_refused_for_gets_its_answer(
    control: Control, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    call: dict[str, Any] = call_of(control, what) | {"headers": {"Idempotency-Key": "once"}}
    before = effects(control)
    first = control.http.request(**call)
    find = FirstAnswers.find
    looks: list[str] = []

    def too_early_once(self: FirstAnswers, key: str) -> FirstAnswer | None:
        looks.append(key)
        return find(self, key) if len(looks) > 1 else None

    monkeypatch.setattr(FirstAnswers, "find", too_early_once)
    second = control.http.request(**call)
    assert (second.status_code, second.json()) == (200, first.json())
    assert second.headers["idempotency-replayed"] == "true"
    assert effects(control) == before + 1
    looks.clear()
    other = call | {"json": {"version": "algebra", "expected": "none@1"}, "url": DEFAULT, "method": "PUT"}
    check_problem(control.http.request(**other), 422, "idempotency_key_reused", "/Idempotency-Key")


@pytest.mark.parametrize("what", ["job", "dataset", "form", "version"])
def test_two_processes_with_the_same_call_make_one_thing(
    control: Control, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    control.import_folder("given")
    headers = {"Idempotency-Key": "once"}
    calls: dict[str, dict[str, Any]] = {
        "job": {"url": "/v1/train", "json": spec(control)},
        "dataset": {"url": "/v1/datasets", "content": UPLOAD},
        "form": {"url": "/v1/datasets", "files": {"file": ("rows.jsonl", UPLOAD)}},
        "version": {"url": "/v1/teachers/given/versions", "json": {"folder": "given"}},
    }
    call: dict[str, Any] = calls[what] | {"headers": headers | (JSONL if what == "dataset" else {})}
    assert control.http.post(**call).status_code in (201, 202)
    monkeypatch.setattr(FirstAnswers, "find", lambda *_: None)  # the other had not finished when this one looked
    check_problem(control.http.post(**call), 409, "idempotency_in_progress")
    assert count_jobs(control) == (1 if what == "job" else 0)
    datasets = control.http.get("/v1/datasets").json()["data"]
    assert len(datasets) == (2 if what in ("dataset", "form") else 1)
    assert len(list((control.services.artifacts.root / "datasets").iterdir())) == len(datasets)


def test_a_key_may_be_used_anew_after_a_day(control: Control) -> None:
    body = spec(control)
    first = train(control, body).json()["id"]
    with control.services.database.transaction() as session:
        session.execute(update(IdempotentCallRow).values(created_at=now_utc() - timedelta(hours=25)))
    assert train(control, body).json()["id"] != first


async def test_a_call_whose_first_one_still_runs_is_told_so(tmp_path: Path) -> None:
    workshop = Workshop()
    app = make_app(tmp_path, engine=workshop.make(Weights(base_model="fake")))
    [engine] = workshop.made
    headers = {"Idempotency-Key": "explain"}
    async with serving(app) as client:
        engine.may_generate.clear()
        first = asyncio.create_task(client.post("/v1/explain", json=EXPLAIN, headers=headers))
        while not engine.waiting:
            await asyncio.sleep(0.01)
        check_problem(await client.post("/v1/explain", json=EXPLAIN, headers=headers), 409, "idempotency_in_progress")
        engine.may_generate.set()
        made = await first
        again = await client.post("/v1/explain", json=EXPLAIN, headers=headers)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    assert again.headers["rlt-teacher-version"] == made.headers["rlt-teacher-version"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/explain", {"json": EXPLAIN | {"stream": True}}),
        ("/v1/explain/batch", {"json": {"items": [EXPLAIN]}}),
        ("/v1/score/batch", {"json": {"items": [EXPLAIN]}}),
    ],
    ids=["stream", "batch", "scores"],
)
def test_a_key_is_refused_where_the_answer_cannot_be_kept(control: Control, path: str, body: dict[str, Any]) -> None:
    answer = control.http.post(path, **body, headers={"Idempotency-Key": "once"})
    check_problem(answer, 422, "not_available_yet", "/Idempotency-Key")


@pytest.mark.parametrize("body", [{}, {"json": {}}, {"json": {"any": "thing"}}])
def test_a_call_that_reads_no_body_is_replayed_whatever_it_brings(control: Control, body: dict[str, Any]) -> None:
    url = f"/v1/jobs/{control.job().id}/cancel"
    answers = [control.http.post(url, **body, headers={"Idempotency-Key": "cancel"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["idempotency-replayed"] == "true"


def test_a_clock_that_is_set_back_an_hour_makes_no_second_job(control: Control) -> None:
    body = spec(control)
    first = train(control, body).json()["id"]
    with control.services.database.transaction() as session:  # the row as a clock that is an hour behind finds it
        session.execute(update(IdempotentCallRow).values(created_at=now_utc() + timedelta(hours=1)))
    assert train(control, body).json()["id"] == first


def test_old_answers_go_with_any_new_one(control: Control) -> None:
    url = f"/v1/jobs/{control.job().id}/cancel"
    control.http.post(url, headers={"Idempotency-Key": "old"})
    with control.services.database.transaction() as session:
        session.execute(update(IdempotentCallRow).values(created_at=now_utc() - timedelta(hours=25)))
    control.http.post(url, headers={"Idempotency-Key": "new"})
    with control.services.database.reading() as session:
        assert [row.key for row in session.scalars(select(IdempotentCallRow))] == ["new"]


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "a\tb"])
def test_a_key_is_visible_characters_and_not_too_long(control: Control, key: str) -> None:
    check_problem(train(control, spec(control), key=key), 422, "invalid_request", "/Idempotency-Key")
