"""A distillation from its submission to a student that is called, on the stub trainer and the fake engine."""

from collections.abc import Iterator
from typing import Any

import pytest

from rlt_service.jobs.preparation import Preparation
from tests.support.control import ROWS, Control, check_problem, control_app
from tests.support.waiting import wait_until
from tests.support.worked import worked_app

TEACHERS = ("algebra@3", "algebra@2", "algebra@3")
EXPLAINED = [
    {"question": row["question"], "solution": row["solution"], "reasoning_trace": f"Look: {row['reasoning_trace']}"}
    | {"collect": {"teacher": TEACHERS[number % 3]}}
    for number, row in enumerate(ROWS)
]
NAMED = [
    {"question": row["question"], "solution": row["solution"], "explanation": row["reasoning_trace"], "teacher": "t@1"}
    for row in ROWS
]
UNEXPLAINED = [{"question": row["question"], "solution": row["solution"]} for row in ROWS]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with worked_app(tmp_path_factory.mktemp("home")) as made:
        yield made


def distill(dataset: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "distill", "dataset": dataset, "target_name": "pupil", **fields}


def ended(control: Control, spec: dict[str, Any]) -> dict[str, Any]:
    answer = control.http.post("/v1/train", json=spec)
    assert answer.status_code == 202, answer.text
    path = f"/v1/jobs/{answer.json()['id']}"
    wait_until(lambda: control.http.get(path).json()["finished_at"] is not None, what="the job to end")
    return control.http.get(path).json()


def test_a_student_comes_out_that_scores_by_its_name_and_knows_who_taught_it(control: Control) -> None:
    dataset = control.upload(EXPLAINED)
    job = ended(control, distill(dataset))
    assert job["status"] == "succeeded", job["error"]
    assert (job["result"]["student"], job["result"]["teacher"]) == ("pupil@1", None)
    assert [name["name"] for name in control.http.get("/v1/students").json()["data"]] == ["pupil"]
    made = control.http.get("/v1/students/pupil/versions/1").json()
    assert (made["role"], made["dataset"], made["job"]) == ("student", dataset, job["id"])
    # Teacher, dataset, student: each end of the chain can be found from the other.
    lineage = control.http.get("/v1/students/pupil/versions/1/lineage").json()
    assert lineage["taught_by"] == job["result"]["taught_by"] == ["algebra@2", "algebra@3"]
    assert (lineage["dataset"], lineage["spec"]["kind"]) == (dataset, "distill")
    assert lineage["dataset_sha256"] == control.http.get(f"/v1/datasets/{dataset}").json()["sha256"]
    asked = {"question": "1 + 1?", "solution": "2", "explanations": ["One more than 1."], "student": "pupil"}
    scored = control.http.post("/v1/score", json=asked)
    assert scored.status_code == 200, scored.text
    assert scored.headers["rlt-student-version"] == scored.json()["student"]["version"] == "pupil@1"


def test_a_second_run_makes_the_next_version_and_a_traced_dataset_will_do(control: Control) -> None:
    job = ended(control, distill(control.upload(), target_name="other", lora=None))
    assert job["result"]["student"] == "other@1"
    assert job["result"]["taught_by"] == []
    assert control.http.get("/v1/students/other/versions/1").json()["weights"] == "full"
    again = ended(control, distill(control.upload(NAMED), target_name="other"))
    assert (again["result"]["student"], again["result"]["taught_by"]) == ("other@2", ["t@1"])


def test_a_dry_run_counts_the_explanations(control: Control) -> None:
    dataset, lengths = control.upload(EXPLAINED), []
    for kind in (distill(dataset), distill(control.upload([row | {"reasoning_trace": "."} for row in EXPLAINED]))):
        found = control.http.post("/v1/train?dry_run=true", json=kind)
        assert found.status_code == 200, found.text
        assert found.json()["estimates"]["scored_tokens"]["basis"] == "a distillation scores nothing"
        assert len(found.json()["rehearsal"]["rows"]) == 5
        lengths.append(found.json()["lengths"]["mean_tokens"])
    assert lengths[0] > lengths[1]


@pytest.mark.parametrize(
    ("rows", "fields", "code", "param", "why"),
    [
        (UNEXPLAINED, {}, "invalid_request", "/dataset", "10 of 10 rows have no explanation or thought or"),
        (EXPLAINED[:9] + UNEXPLAINED[9:], {}, "invalid_request", "/dataset", "the first is 'row-10'"),
        (EXPLAINED, {"student_base": "other/model"}, "not_available_yet", "/student_base", "RLT_STUDENT_MODEL"),
        (EXPLAINED, {"student_base": "hub:a/b"}, "invalid_request", "/student_base", "names no revision"),
        (EXPLAINED, {"max_tokens": 16}, "invalid_request", "/max_tokens", "every row is longer"),
        (EXPLAINED, {"target_name": "fake"}, "invalid_request", "/target_name", "is a base"),
        (EXPLAINED, {"lora": {"rank": 500}}, "invalid_request", "/lora/rank", "RLT_MAX_LORA_RANK"),
        (EXPLAINED, {"role": "teacher"}, "unknown_field", "/role", "no field"),
    ],
)
def test_what_cannot_be_distilled_is_refused_before_anything_starts(
    control: Control, rows: list[dict[str, Any]], fields: dict[str, Any], code: str, param: str, why: str
) -> None:
    before = control.services.jobs.counts()
    answer = control.http.post("/v1/train", json=distill(control.upload(rows), **fields))
    assert why in check_problem(answer, 422, code, param=param)["detail"]
    assert control.services.jobs.counts() == before


@pytest.mark.parametrize(
    ("kind", "field"),
    [({"kind": "distill"}, "student_base"), ({"kind": "warmup", "role": "student"}, "base_model")],
    ids=["distill", "warmup"],
)
def test_students_of_another_base_are_trained_on_theirs(tmp_path: Any, kind: dict[str, Any], field: str) -> None:
    with control_app(tmp_path, student_model="/models/other") as control:
        student, services = control.services.registry.base("student"), control.services
        spec = {**kind, "dataset": control.upload(EXPLAINED), "target_name": "pupil"}
        for named in (None, "/models/other", student.version, student.base_model):
            answer = control.http.post("/v1/train?dry_run=true", json=spec | {field: named})
            assert answer.status_code == 200, answer.text
            assert answer.json()["lengths"] is None  # this process reads by the teachers' tokenizer
        teachers = services.registry.base().base_model
        refused = control.http.post("/v1/train", json=spec | {field: teachers})
        said = check_problem(refused, 422, "not_available_yet", param=f"/{field}")["detail"]
        assert f"leave {field} out" in said
        assert "RLT_STUDENT_MODEL" in said
        job = control.running_job(**spec)
        preparation = Preparation(
            settings=services.settings.model_copy(update={"service_url": "http://app"}),
            jobs=services.jobs,
            datasets=services.datasets,
            registry=services.registry,
            artifacts=services.artifacts,
        )
        prepared = preparation.prepare(job, base_dir=tmp_path / "of-students")
        assert (prepared.base_model, prepared.base_model_dir) == (student.base_model, str(tmp_path / "of-students"))


def test_a_teachers_warm_up_stays_on_the_teachers_base_and_a_students_starts_no_teacher(tmp_path: Any) -> None:
    with control_app(tmp_path, student_model="/models/other") as control:
        dataset = control.upload(EXPLAINED)
        registry = control.services.registry
        assert registry.base().base_model != registry.base("student").base_model
        for role, fits in (("teacher", 202), ("student", 422)):
            warm = {"kind": "warmup", "role": role, "dataset": dataset, "target_name": "warm"}
            rl = {"kind": "rl", "teacher": f"$warm.{role}", "dataset": dataset, "target_name": "taught"}
            steps = [{"id": "warm", "spec": warm}, {"id": "rl", "spec": rl}]
            answer = control.http.post("/v1/train", json={"kind": "pipeline", "steps": steps})
            assert answer.status_code == fits, answer.text
            named = warm | {"base_model": registry.base("teacher").base_model}
            assert control.http.post("/v1/train?dry_run=true", json=named).is_success == (role == "teacher")
        assert (
            "students' base" in check_problem(answer, 422, "invalid_request", param="/steps/1/spec/teacher")["detail"]
        )
