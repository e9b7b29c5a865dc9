"""Teachers, students, evaluations: reading versions, and registering an adapter that an operator laid down."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.control import Control, check_problem, control_app


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_lora_rank=16) as made:
        yield made


def register(control: Control, name: str, *, role: str = "teacher", **fields: Any) -> Any:
    return control.http.post(f"/v1/{role}s/{name}/versions", json=fields)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_an_adapter_that_lies_in_imports_becomes_the_next_version(control: Control, role: str) -> None:
    name = f"imported-{role}"
    for number in (1, 2):
        control.import_folder(f"{name}-{number}", seed=number)
        answer = register(control, name, role=role, folder=f"{name}-{number}")
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert (made["version"], made["role"], made["lora_rank"]) == (f"{name}@{number}", role, 4)
        assert answer.headers["location"] == f"/v1/{role}s/{name}/versions/{number}"
        assert control.http.get(answer.headers["location"]).json() == made
    listed = control.http.get(f"/v1/{role}s").json()["data"]
    assert {"name": name, "latest": f"{name}@2", "versions": 2}.items() <= listed[0].items()
    newest_first = control.http.get(f"/v1/{role}s/{name}/versions").json()["data"]
    assert [version["number"] for version in newest_first] == [2, 1]
    assert name not in [model["name"] for model in control.http.get(other_list(role)).json()["data"]]


def other_list(role: str) -> str:
    return "/v1/students" if role == "teacher" else "/v1/teachers"


def test_a_registered_version_keeps_its_own_copy_of_the_files(control: Control) -> None:
    folder = control.import_folder("copied", seed=7)
    assert register(control, "copied", folder="copied").status_code == 201
    (folder / "adapter_model.safetensors").write_bytes(b"spoilt")
    found = control.services.registry.resolve("teacher", "copied@1")
    assert found.adapter is not None
    assert control.services.artifacts.checked_sha256(found.adapter.path) == found.adapter.sha256


def test_the_same_adapter_can_be_registered_again_from_another_folder(control: Control) -> None:
    first = control.import_folder("here", seed=9)
    assert register(control, "twice", folder="here").status_code == 201
    first.rename(first.with_name("there"))
    assert register(control, "twice", folder="there").json()["version"] == "twice@2"


def test_a_version_names_its_parent_and_what_became_of_it(control: Control) -> None:
    parent = control.version("parent")
    control.import_folder("child")
    assert register(control, "child", folder="child", parent=parent).json()["parent"] == parent
    control.http.put("/v1/aliases/teacher/spotlight", json={"version": "child@1", "reason": "a trial"})
    lineage = control.http.get("/v1/teachers/child/versions/1/lineage").json()
    assert (lineage["parent"], lineage["job"]) == (parent, None)
    assert [move["reason"] for move in lineage["promotions"]] == ["a trial"]
    assert control.http.get("/v1/teachers/child/versions/1").json()["aliases"] == ["spotlight"]


def test_number_0_of_a_name_is_the_untrained_base(control: Control) -> None:
    control.version("grown")
    base = control.services.registry.base().version
    assert control.http.get("/v1/teachers/grown/versions/0").json()["version"] == base


@pytest.mark.parametrize(
    "path",
    [
        "nobody/versions",
        "NOBODY/versions",
        "nobody/versions/1",
        "fake/versions/7",
        "fake/versions/x",
        "fake/versions/01",
        "fake/versions/-1",
        "fake/versions/9999999999",
        "fake%0A/versions/0",
        "fake/versions/0%0A",
        "fake/versions/0%0A/lineage",
        "fake/versions/7/lineage",
        "job_0123456789abcdef.1/versions/0",
    ],
)
@pytest.mark.parametrize("role", ["teachers", "students"])
def test_a_version_that_is_not_there_is_a_404(control: Control, role: str, path: str) -> None:
    answer = control.http.get(f"/v1/{role}/{path}")
    assert (answer.status_code, answer.json()["code"]) in [(404, "not_found"), (404, "model_not_found")]


@pytest.mark.parametrize("path", ["/v1/teachers", "/v1/students", "/v1/teachers/fake/versions"])
@pytest.mark.parametrize(
    ("query", "param"), [("limit=0", "/limit"), ("limit=101", "/limit"), ("after=nobody", "/after")]
)
def test_a_page_outside_the_bounds_is_refused(control: Control, path: str, query: str, param: str) -> None:
    check_problem(control.http.get(f"{path}?{query}"), 422, "invalid_request", param)


def test_an_evaluation_is_read_with_its_figures(control: Control) -> None:
    base, after = control.services.registry.base().version, control.version("judged")
    evaluation = control.evaluation(before=base, after=after, gain=0.1)
    found = control.http.get(f"/v1/evaluations/{evaluation}").json()
    assert (found["before"], found["after"], found["difference"]["n"]) == (base, after, 30)
    rows = control.http.get(f"/v1/evaluations/{evaluation}/rows").json()
    assert ([row["version"] for row in rows["data"]], rows["has_more"]) == ([base] * 30 + [after] * 30, False)


@pytest.mark.parametrize("evaluation", ["eval_" + "0" * 20, "x", "eval_%0A", "ds_" + "0" * 20])
@pytest.mark.parametrize("rest", ["", "/rows"])
def test_an_evaluation_that_is_not_there_is_a_404(control: Control, evaluation: str, rest: str) -> None:
    answer = control.http.get(f"/v1/evaluations/{evaluation}{rest}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(("query", "param"), [("offset=-1", "/offset"), ("limit=1001", "/limit")])
def test_a_window_of_rows_outside_the_bounds_is_refused(control: Control, query: str, param: str) -> None:
    answer = control.http.get(f"/v1/evaluations/eval_{'0' * 20}/rows?{query}")
    check_problem(answer, 422, "invalid_request", param)
