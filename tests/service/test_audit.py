"""What the audit log tells of calls: who changed what, also in vain; of nothing else, and no texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlt_core.errors import StorageUnavailableError
from rlt_core.schemas.projects import Quotas
from rlt_service.access.secrets import make_secret
from rlt_service.store.keys import KeyStore
from rlt_service.store.projects import ProjectStore
from tests.support.control import JSONL, Control, control_app
from tests.support.keys import Headers, acting, id_of, make_key

SECRET_TEXT = "nobody-must-read-this"
ROW = f'{{"question": "{SECRET_TEXT}?", "solution": "1"}}\n'.encode()


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with control_app(tmp_path) as found:
        yield found


def told(control: Control, admin: Headers, **params: str) -> list[dict[str, Any]]:
    """Give the entries, the oldest first."""
    return control.http.get("/v1/audit", params=params, headers=admin).json()["data"][::-1]


def test_each_call_that_changes_something_is_told_of_by_whom_and_what(control: Control) -> None:
    admin = make_key(control, "admin")
    made = ProjectStore(control.services.database).create("algebra", Quotas())
    member = make_key(control, "train", "explain", project="algebra")
    dataset = control.http.post(
        "/v1/datasets", content=ROW, headers=JSONL | member | {"X-Request-Id": "mine", "Idempotency-Key": "once"}
    ).json()["id"]
    again = control.http.post("/v1/datasets", content=ROW, headers=JSONL | member | {"Idempotency-Key": "once"})
    assert again.json()["id"] == dataset
    asked = {"question": SECRET_TEXT, "solution": "5"}
    assert control.http.post("/v1/explain", json=asked, headers=member).status_code == 200
    assert control.http.get("/v1/jobs", headers=member).status_code == 200
    assert control.http.delete(f"/v1/datasets/{dataset}", headers=member).status_code == 200
    assert control.http.post("/v1/projects", json={"name": "more"}, headers=member).status_code == 403
    assert control.http.post("/v1/projects", json={"name": "more"}, headers=admin).status_code == 201
    entries = told(control, admin)
    found = [tuple(one[name] for name in ("key", "project", "action", "subject", "status")) for one in entries]
    who = (id_of(member), made.id)
    assert found == [
        (*who, "POST /v1/datasets", dataset, 201),
        (*who, "DELETE /v1/datasets/{dataset_id}", dataset, 200),
        (*who, "POST /v1/projects", None, 403),
        (id_of(admin), None, "POST /v1/projects", "more", 201),
    ]
    assert entries[0]["request_id"] == "mine"
    assert SECRET_TEXT not in str(entries)
    assert told(control, admin, project="algebra") == entries[:3]
    assert told(control, admin, key=id_of(admin)) == entries[3:]


def test_who_moved_an_alias_is_told_by_the_key_not_by_its_project(control: Control) -> None:
    made = ProjectStore(control.services.database).create("algebra", Quotas())
    member = make_key(control, "train", project="algebra")
    with acting(member, project=made.id):
        version = control.version("sums")
    moved = control.http.put("/v1/aliases/teacher/lit", json={"version": version}, headers=member)
    assert moved.status_code == 200, moved.text
    [move] = control.http.get("/v1/aliases/teacher/lit/history", headers=member).json()["data"]
    assert move["by"].endswith(f"(key {id_of(member)})")
    [entry] = told(control, make_key(control, "admin"))
    assert (entry["action"], entry["subject"]) == ("PUT /v1/aliases/{role}/{alias}", "teacher/lit")


def test_trainers_and_servers_without_keys_leave_no_entries(control: Control) -> None:
    control.upload()
    job = control.running_job()
    secret = make_secret()
    keys = KeyStore(control.services.database)
    keys.create_for_job(secret.key_id, job_id=job.id, attempt=1, sha256=secret.sha256)
    admin = make_key(control, "admin")
    trainer = {"Authorization": f"Bearer {secret.text}"}
    assert control.http.post(f"/v1/jobs/{job.id}/cancel", headers=trainer).status_code == 200
    assert told(control, admin) == []


def test_an_answer_comes_also_where_the_log_cannot_be_written(
    control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_args: object, **_more: object) -> None:
        raise StorageUnavailableError("the disk is full")

    member = make_key(control, "train")
    monkeypatch.setattr(control.services.audit, "note", fails)
    assert control.http.post("/v1/datasets", content=ROW, headers=JSONL | member).status_code == 201
    assert f"the audit log lacks POST /v1/datasets of the key {id_of(member)}" in caplog.text
