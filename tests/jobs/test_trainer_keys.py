"""Jobs on a server with keys: their trainers call with a key of their own, which lives as long as the attempt."""

import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from rlt_core.schemas.teachers import JobAttempt
from rlt_service.access.secrets import make_secret, read_secret
from rlt_service.jobs.promotion import Promoter
from rlt_service.jobs.trainer_process import TrainerProcess
from rlt_service.store.keys import KeyStore
from rlt_service.store.tables import KeyRow
from tests.jobs.site import Site
from tests.support.app_transport import AppTransport
from tests.support.control import Control
from tests.support.keys import Headers, make_key
from tests.support.waiting import wait_until
from tests.support.worked import worked_app

STOLEN = "rlt_of_the_worker"


def given_key(site: Site, job_id: str, attempt: int) -> str:
    return (site.artifacts.attempt_dir(job_id, attempt) / "api_key").read_text()


def keys_left(control: Control) -> int | None:
    with control.services.database.reading() as session:
        return session.scalar(select(func.count()).select_from(KeyRow).where(KeyRow.job_id.is_not(None)))


def ended(control: Control, job_id: str, headers: Headers) -> dict[str, Any]:
    def job() -> dict[str, Any]:
        return control.http.get(f"/v1/jobs/{job_id}", headers=headers).json()

    wait_until(lambda: job()["status"] in ("succeeded", "failed"), what="the job's end", timeout_s=60.0)
    return job()


def test_a_job_trains_compares_and_promotes_on_a_server_with_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLT_API_KEY", STOLEN)
    with worked_app(tmp_path) as control:
        mine, theirs = (make_key(control, "train") for _ in range(2))
        dataset = control.upload(headers=mine)
        body = {"kind": "rl", "dataset": dataset, "target_name": "algebra", "name": "gate", "splits": {"gate": 0.3}}
        answer = control.http.post("/v1/train", json=body | {"promote": {"when": "if_better"}}, headers=mine)
        assert answer.status_code == 202, answer.text
        job = ended(control, answer.json()["id"], mine)
        assert job["status"] == "succeeded", job["error"]
        assert job["result"]["promotion"]["outcome"] == "promoted", job["result"]
        for path in (f"/v1/jobs/{job['id']}", f"/v1/evaluations/{job['result']['evaluation']}"):
            assert [control.http.get(path, headers=key).status_code for key in (mine, theirs)] == [200, 404]
        wait_until(lambda: keys_left(control) == 0, what="the attempt's key to go")
        used = (control.services.artifacts.attempt_dir(job["id"], 1) / "api_key").read_text()
        assert read_secret(f"Bearer {used}") is not None
        control.services.authenticator.forget()
        refused = control.http.get("/v1/jobs", headers={"Authorization": f"Bearer {used}"})
        assert refused.status_code == 401


def test_a_trainer_never_gets_the_key_of_the_workers_surroundings(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLT_API_KEY", STOLEN)
    job = site.submit("crash-once")
    site.run_one()
    site.run_one()
    first, second = (read_secret(f"Bearer {given_key(site, job.id, attempt)}") for attempt in (1, 2))
    assert first is not None
    assert second is not None
    assert first.key_id != second.key_id
    keys = KeyStore(site.database)
    assert [keys.find(secret.key_id) for secret in (first, second)] == [None, None]


def test_a_trainer_that_is_given_no_key_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLT_API_KEY", STOLEN)
    command = (sys.executable, "-c", "import os; print(os.environ.get('RLT_API_KEY', 'none'))")
    trainer = TrainerProcess(command, job_file=tmp_path / "job.json", folder=tmp_path)
    trainer.start()
    assert trainer.wait(20.0) == 0
    trainer.end()
    assert trainer.log_tail() == "none"


def test_a_secret_of_a_trainer_lies_in_no_file_that_the_job_leaves(site: Site) -> None:
    job = site.submit("ok")
    site.run_one()
    secret = given_key(site, job.id, 1)
    assert secret.startswith("rlt_")
    told = [path for path in site.settings.home.rglob("*") if path.is_file() and path.name != "api_key"]
    assert len(told) > 3
    assert [path for path in told if secret[17:].encode() in path.read_bytes()] == []


def test_a_promotion_with_a_key_that_has_ended_is_refused_with_the_servers_words(tmp_path: Path) -> None:
    with worked_app(tmp_path) as control:
        make_key(control, "train")
        job = control.job(promote={"when": "always"})
        promoter = Promoter(
            base_url="http://app",
            keep_on=lambda: True,
            api_key=make_secret().text,
            transport=AppTransport(control.http),
        )
        policy = job.spec.promote if job.spec.kind == "rl" else None
        assert policy is not None
        found = promoter.promote(
            policy, version="fake@0", evaluation=None, student="default", asker=JobAttempt(job=job.id, attempt=1)
        )
        assert found.outcome == "refused"
        assert found.reason is not None
        assert "not known here" in found.reason
