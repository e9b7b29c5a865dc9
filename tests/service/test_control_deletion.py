"""Deleting a version: refused while it is used, saying by what; then gone for callers, never given again."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_core.schemas.trainer import TrainerJob
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.store.registry import Candidate
from tests.support.control import Control, check_problem, control_app
from tests.support.service import running_app, services_of
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), database_url=module_database_url) as made:
        yield made


def delete(control: Control, version: str, *, role: str = "teacher") -> Any:
    name, _, number = version.partition("@")
    return control.http.delete(f"/v1/{role}s/{name}/versions/{number}")


def explain(control: Control, teacher: str) -> Any:
    return control.http.post("/v1/explain", json={"question": "1+1?", "solution": "2", "teacher": teacher})


def folder_of(control: Control, version: str) -> Path:
    name, _, number = version.partition("@")
    return control.services.artifacts.version_dir(name, int(number))


def check_in_use(control: Control, version: str, *, by: str) -> None:
    body = check_problem(delete(control, version), 409, "version_in_use")
    assert by in body["detail"]
    assert any(by in user for user in body["used_by"])
    assert control.http.get(f"/v1/teachers/{version.replace('@', '/versions/')}").status_code == 200
    assert folder_of(control, version).is_dir()


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_deleted_version_is_gone_for_callers_and_its_number_is_not_given_again(control: Control, role: Any) -> None:
    name = f"gone-{role}"
    first, second = control.version(name, role=role, seed=1), control.version(name, role=role, seed=2)
    answer = delete(control, second, role=role)
    assert (answer.status_code, answer.json()) == (
        200,
        {"version": second, "object": "version.deleted", "deleted": True},
    )
    for again in (
        explain(control, second),
        control.http.get(f"/v1/{role}s/{name}/versions/2"),
        delete(control, second),
    ):
        assert (again.status_code, again.json()["code"]) == (404, "model_not_found")
        assert "was deleted" in again.json()["detail"]
    assert not folder_of(control, second).exists()
    assert [found["version"] for found in control.http.get(f"/v1/{role}s/{name}/versions").json()["data"]] == [first]
    named = next(one for one in control.http.get(f"/v1/{role}s").json()["data"] if one["name"] == name)
    assert (named["latest"], named["versions"]) == (first, 1)
    assert second not in {card["id"] for card in control.http.get("/v1/models").json()["data"]}
    assert explain(control, name).json()["teacher"]["version"] == first
    assert control.version(name, role=role, seed=3) == f"{name}@3"


def test_lineage_of_a_deleted_version_and_of_its_children_can_still_be_read(control: Control) -> None:
    parent = control.version("forebear")
    control.import_folder("offspring")
    control.http.post("/v1/teachers/offspring/versions", json={"folder": "offspring", "parent": parent})
    assert delete(control, parent).status_code == 200
    lineage = control.http.get("/v1/teachers/forebear/versions/1/lineage").json()
    assert lineage["deleted_at"] is not None
    child = control.http.get("/v1/teachers/offspring/versions/1/lineage").json()
    assert (child["parent"], child["deleted_at"]) == (parent, None)


def test_a_name_without_versions_left_is_unknown_and_counts_on(control: Control) -> None:
    assert delete(control, control.version("once", seed=1)).status_code == 200
    assert control.http.get("/v1/teachers/once/versions").json()["code"] == "model_not_found"
    assert explain(control, "once").json()["code"] == "model_not_found"
    assert "once" not in [one["name"] for one in control.http.get("/v1/teachers").json()["data"]]
    assert control.version("once", seed=2) == "once@2"


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_what_an_alias_points_at_stays(control: Control, role: str) -> None:
    version = control.version(f"pointed-{role}")
    control.http.put(f"/v1/aliases/{role}/sign-{role}", json={"version": version})
    check_in_use(control, version, by=f"the {role} alias 'sign-{role}' points at it")
    control.http.put(f"/v1/aliases/{role}/sign-{role}", json={"version": "fake@0", "expected": version})
    assert delete(control, version).status_code == 200


def test_a_rollback_to_a_deleted_version_says_that_it_was_deleted(control: Control) -> None:
    first, second = control.version("returned", seed=1), control.version("returned", seed=2)
    control.http.put("/v1/aliases/teacher/returning", json={"version": first})
    control.http.put("/v1/aliases/teacher/returning", json={"version": second, "expected": first})
    assert delete(control, first).status_code == 200
    answer = control.http.post("/v1/aliases/teacher/returning/rollback", json={"expected": second})
    assert "was deleted" in check_problem(answer, 404, "model_not_found", "/to")["detail"]
    answer = control.http.put("/v1/aliases/teacher/returning", json={"version": first, "expected": second})
    assert "was deleted" in check_problem(answer, 404, "model_not_found", "/version")["detail"]
    assert control.alias("teacher", "returning") == second


@pytest.mark.parametrize("field", ["teacher", "student"])
@pytest.mark.parametrize("exactly", [True, False])
def test_what_a_waiting_job_names_stays_until_it_ends(control: Control, field: str, exactly: bool) -> None:
    name = f"named-{field}-{exactly}".lower()
    older, newer = control.version(name, seed=1), control.version(name, seed=2)
    job = control.job(**{field: newer if exactly else name})
    check_in_use(control, newer, by=f"{job.id}, which is queued")
    assert delete(control, older).status_code == 200
    control.services.jobs.pause(job.id)
    check_in_use(control, newer, by=f"{job.id}, which is paused")
    control.services.jobs.cancel(job.id)
    assert delete(control, newer).status_code == 200


@pytest.mark.parametrize("more", [{}, {"since_the_next_release": 1}])
def test_what_a_running_attempt_was_told_stays_though_its_alias_has_moved(
    control: Control, more: dict[str, Any]
) -> None:
    versions = {role: control.version(f"told-{role}") for role in ("teacher", "student", "served")}
    job = control.running_job(teacher="default", target_name="told")
    assert not isinstance(job.spec, PipelineSpec)
    path = control.services.artifacts.job_file(job.id, job.attempt)
    path.parent.mkdir(parents=True)
    told = TrainerJob(
        job_id=job.id,
        attempt=job.attempt,
        kind="rl",
        spec=job.spec,
        base_model="fake",
        base_model_dir="",
        dataset_path="",
        attempt_dir=str(path.parent),
        events_path="",
        format_id="stratos@1",
        **cast("dict[str, Any]", {f"{role}_version": version for role, version in versions.items()}),
    )
    path.write_text(json.dumps(told.model_dump(mode="json") | more))
    for version in versions.values():
        check_in_use(control, version, by=f"{job.id}, which is running")
    control.services.jobs.finish(job.id, job.attempt, "cancelled")
    assert {delete(control, version).status_code for version in versions.values()} == {200}


def test_what_a_job_has_made_stays_until_the_job_has_ended(control: Control) -> None:
    job = control.running_job(target_name="result")
    folder = control.import_folder("result")
    made = control.services.registry.register(
        Candidate(
            name="result",
            role="teacher",
            base_model="fake",
            format="stratos@1",
            folder=folder,
            sha256=adapter_sha256(folder),
            lora_rank=4,
            job_id=job.id,
            attempt=job.attempt,
        )
    )
    check_in_use(control, made.version, by=f"{job.id}, which made it")
    control.services.jobs.finish(job.id, job.attempt, "succeeded")
    assert delete(control, made.version).status_code == 200


@pytest.mark.parametrize("version", ["fake@0", "algebra@0"])
def test_a_base_cannot_be_deleted(control: Control, version: str) -> None:
    control.version("algebra")
    check_problem(delete(control, version), 409, "conflict")
    assert explain(control, "fake@0").status_code == 200


@pytest.mark.parametrize("version", ["nobody@1", "fake@7", "nobody@x"])
def test_what_is_not_there_cannot_be_deleted(control: Control, version: str) -> None:
    assert delete(control, version).status_code == 404


def test_a_version_that_a_request_runs_on_stays_until_the_request_is_done(tmp_path: Path) -> None:
    with running_app(tmp_path, engine=FakeEngine(FakeOptions(delay_s=1.0))) as client:
        control = Control(http=client, services=services_of(client))
        version = control.version("algebra")
        answers: list[Any] = []
        caller = threading.Thread(target=lambda: answers.append(explain(control, version)))
        caller.start()
        wait_until(lambda: control.services.leases.in_flight(version) == 1, what="the request runs")
        check_in_use(control, version, by="1 requests run on it")
        caller.join()
        assert (answers[0].status_code, answers[0].json()["teacher"]["version"]) == (200, version)
        assert delete(control, version).status_code == 200


def test_files_that_a_crash_left_behind_are_swept_at_the_next_start(tmp_path: Path) -> None:
    with control_app(tmp_path) as control:
        gone, kept = control.version("algebra", seed=1), control.version("algebra", seed=2)
        assert delete(control, gone).status_code == 200
        left_over = folder_of(control, gone)
        left_over.mkdir()
        (left_over / "adapter_model.safetensors").write_bytes(b"left over")
    with control_app(tmp_path) as control:
        assert not left_over.exists()
        assert folder_of(control, kept).is_dir()
