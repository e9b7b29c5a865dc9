"""An rlvr from its submission to a student that is called, on the stub trainer and the fake engine."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.control import Control
from tests.support.waiting import wait_until
from tests.support.worked import worked_app

ROWS = [{"question": f"{number} + 1?", "solution": "s", "answer": str(number + 1)} for number in range(10)]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with worked_app(tmp_path_factory.mktemp("home")) as made:
        yield made


def ended(control: Control, **fields: Any) -> dict[str, Any]:
    spec = {"kind": "rlvr", "dataset": control.upload(ROWS), "verdict": "exact", **fields}
    answer = control.http.post("/v1/train", json=spec)
    assert answer.status_code == 202, answer.text
    path = f"/v1/jobs/{answer.json()['id']}"
    wait_until(lambda: control.http.get(path).json()["finished_at"] is not None, what="the job to end")
    return control.http.get(path).json()


def test_a_student_comes_out_whose_parent_is_where_it_started(control: Control) -> None:
    control.version("pupil", role="student")
    job = ended(control, student="pupil", target_name="pupil")
    assert job["status"] == "succeeded", job["error"]
    result = job["result"]
    assert (result["student"], result["teacher"], result["promotion"]) == ("pupil@2", None, None)
    lineage = control.http.get("/v1/students/pupil/versions/2/lineage").json()
    assert (lineage["parent"], lineage["spec"]["kind"], lineage["job"]) == ("pupil@1", "rlvr", job["id"])
    solved = control.http.post("/v1/solve", json={"question": "1 + 1?", "student": "pupil"})
    assert solved.headers["rlt-student-version"] == "pupil@2"
    # What was told where it began: an alias may move, and names may come to mean what the job itself makes.
    told = control.services.artifacts.job_file(job["id"], 1).read_text(encoding="utf-8")
    assert '"student_version":"pupil@1"' in told.replace(" ", "")
    assert control.http.get("/v1/jobs?kind=rlvr").json()["data"][0]["id"] == job["id"]
