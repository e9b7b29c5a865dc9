"""Shadows and rollouts on a server with keys: what callers asked is for admin alone, a policy for its job's owner."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.control import Control, control_app, write_adapter
from tests.support.keys import acting, make_key
from tests.support.waiting import wait_until

TEXT = {"question": "2 + 3?", "solution": "5", "max_tokens": 4}


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with control_app(tmp_path) as found:
        yield found


def test_a_shadow_which_keeps_what_all_asked_is_for_admin_alone(control: Control) -> None:
    train, admin, asker = (make_key(control, scope) for scope in ("train", "admin", "explain"))
    with acting(admin):
        candidate = control.version("algebra")
    shadow = "/v1/aliases/teacher/default/shadow"
    put = {"version": candidate, "share": 1.0}
    assert control.http.put(shadow, json=put, headers=train).status_code == 403
    assert control.http.put(shadow, json=put, headers=admin).status_code == 200
    # The candidate answers in nobody's name: the caller could not name it.
    assert control.http.post("/v1/explain", json=TEXT | {"teacher": candidate}, headers=asker).status_code == 404
    assert control.http.post("/v1/explain", json=TEXT, headers=asker).status_code == 200
    counts = {"answered": 0}

    def counted() -> bool:
        counts.update(control.http.get(shadow, headers=admin).json()["counts"])
        return counts["sampled"] > 0

    wait_until(counted, what="the shadow to have answered")
    assert (counts["answered"], counts["failed"]) == (1, 0)
    for method, path in (("GET", shadow), ("DELETE", shadow), ("POST", f"{shadow}/evaluation")):
        assert control.http.request(method, path, headers=train).status_code == 403


def test_a_policy_of_a_running_job_is_called_by_its_owner_alone(control: Control) -> None:
    mine, theirs, admin = (
        make_key(control, "train", "explain"),
        make_key(control, "explain"),
        make_key(control, "admin"),
    )
    with acting(mine):
        job = control.running_job(dataset="ds_" + "0" * 20)
    folder = write_adapter(control.services.artifacts.rollout_dir(job.id, job.attempt, 0))
    sha256 = control.services.artifacts.checked_sha256(folder)
    body = {"attempt": job.attempt, "step": 0, "sha256": sha256}
    published = control.http.post(f"/v1/jobs/{job.id}/rollouts", json=body, headers=mine)
    assert published.status_code == 200, published.text
    named = TEXT | {"teacher": published.json()["version"]}
    statuses = [control.http.post("/v1/explain", json=named, headers=key).status_code for key in (mine, theirs, admin)]
    assert statuses == [200, 404, 200]
