"""A walk over every operation of the OpenAPI file with keys: none, a wrong one, too narrow a one, another's things.

A new route is walked as soon as it is in the file: without a guard it fails here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rlt_core.schemas.projects import Quotas
from rlt_service.store.projects import ProjectStore
from tests.support.control import Control, control_app
from tests.support.keys import Headers, acting, id_of, make_key

PUBLIC = {"/healthz", "/readyz", "/metrics"}
ANY_KEY = {"/v1/models", "/v1/formats", "/v1/formats/{format_id}", "/v1/capabilities"}
"""They say nothing that belongs to anyone: each key may ask."""
SHARED = {"role": "teacher", "alias": "default", "format_id": "stratos@1", "project": "none", "key_id": "0" * 12}
"""Path parameters that name what is everybody's, or for admin alone."""
SHA256 = "0" * 64
BODIES: dict[str, Any] = {
    "POST /v1/jobs/{job_id}/rollouts": {"attempt": 1, "step": 0, "sha256": SHA256},
    "POST /v1/teachers/{name}/versions": {"folder": "one"},
    "POST /v1/students/{name}/versions": {"folder": "one"},
}
"""Of operations that name something by their path and read a body: one of the right form."""
NAME_TAKEN = {"POST /v1/teachers/{name}/versions", "POST /v1/students/{name}/versions"}
"""Names are one namespace: to make a version under another's name is refused (422), not unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A server with keys, and what one of them made."""

    control: Control
    mine: Headers
    theirs: Headers
    admin: Headers
    made: dict[str, str]
    """By the name of the path parameter."""
    operations: list[tuple[str, str]]

    def send(self, method: str, path: str, headers: Headers, **values: str) -> Any:
        filled = path.format(**SHARED | self.made | values)
        body = BODIES.get(f"{method} {path}", {})
        return self.control.http.request(method, filled, headers=headers, json=None if method == "GET" else body)

    @property
    def owned(self) -> list[tuple[str, str]]:
        """Give the operations whose path names something that somebody made."""
        return [(method, path) for method, path in self.operations if parameters_of(path) - SHARED.keys()]


def parameters_of(path: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", path))


@pytest.fixture(scope="module", params=["keys", "projects"])
def walk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    with control_app(tmp_path_factory.mktemp("walk")) as control:
        paths = control.http.get("/openapi.json").json()["paths"]
        projects = ProjectStore(control.services.database)
        first, second = (projects.create(name, Quotas()) for name in ("first", "second"))
        in_projects = request.param == "projects"
        mine = make_key(control, "train", project=first.name if in_projects else None)
        theirs = make_key(control, "train", project=second.name if in_projects else None)
        admin = make_key(control, "admin")
        control.import_folder("one")
        with acting(mine, project=first.id if in_projects else None):
            version = control.version("algebra")
            made = {
                "job_id": control.running_job(dataset="ds_" + "0" * 20).id,
                "evaluation_id": control.evaluation(before="fake@0", after=version, gain=0.1),
                "name": "algebra",
                "number": "1",
            }
        content = b'{"question": "1?", "solution": "1"}\n'
        headers = mine | {"Content-Type": "application/jsonl"}
        made["dataset_id"] = control.http.post("/v1/datasets", content=content, headers=headers).json()["id"]
        operations = [(method.upper(), path) for path, methods in paths.items() for method in methods]
        yield Walk(control=control, mine=mine, theirs=theirs, admin=admin, made=made, operations=operations)


def test_every_operation_without_a_key_is_refused(walk: Walk) -> None:
    assert len(walk.operations) > 30
    answers = {f"{method} {path}": walk.send(method, path, {}).status_code for method, path in guarded(walk)}
    assert answers == dict.fromkeys(answers, 401)


def test_every_operation_with_a_wrong_key_is_refused(walk: Walk) -> None:
    wrong = f"Bearer rlt_{'0' * 12}_{'A' * 43}"
    for given in (wrong, walk.mine["Authorization"][:-43] + "A" * 43, "Bearer ", "Basic YTpi", wrong.lower()):
        headers = {"Authorization": given}
        answers = {f"{method} {path}": walk.send(method, path, headers).status_code for method, path in guarded(walk)}
        assert answers == dict.fromkeys(answers, 401)


def test_every_operation_with_too_narrow_a_key_is_refused(walk: Walk) -> None:
    narrow = {scope: make_key(walk.control, scope) for scope in ("explain", "score")}
    answers = {}
    for method, path in guarded(walk):
        if path not in ANY_KEY:
            scope = "score" if path.startswith(("/v1/explain", "/v1/chat")) else "explain"
            answers[f"{method} {path}"] = walk.send(method, path, narrow[scope]).status_code
    assert answers == dict.fromkeys(answers, 403)


def test_every_operation_on_what_another_key_made_answers_as_on_what_there_is_not(walk: Walk) -> None:
    unknown = {
        "job_id": "job_" + "f" * 20,
        "dataset_id": "ds_" + "f" * 20,
        "evaluation_id": "eval_" + "f" * 20,
        "name": "algebrf",
    }
    assert len(walk.owned) > 20
    for method, path in walk.owned:
        what = f"{method} {path}"
        answer = walk.send(method, path, walk.theirs)
        if what in NAME_TAKEN:
            assert (answer.status_code, answer.json()["param"]) == (422, "/name"), answer.text
            continue
        nothing = walk.send(method, path, walk.theirs, **unknown)
        assert (answer.status_code, nothing.status_code) == (404, 404), (what, answer.text, nothing.text)
        told, said = answer.json()["detail"], nothing.json()["detail"]
        for name, value in unknown.items():
            said = said.replace(value, walk.made[name])
        assert told == said, what


def test_what_a_key_made_is_there_for_itself_and_for_admin(walk: Walk) -> None:
    for method, path in walk.owned:
        if method == "GET":
            answers = [walk.send(method, path, headers).status_code for headers in (walk.mine, walk.admin)]
            assert answers == [200, 200], path


def test_lists_hold_what_is_ones_own(walk: Walk) -> None:
    for path, held in (("/v1/jobs", "job_id"), ("/v1/datasets", "dataset_id"), ("/v1/teachers", "name")):
        found = {
            who: [item.get("id", item.get("name")) for item in walk.send("GET", path, headers).json()["data"]]
            for who, headers in (("mine", walk.mine), ("theirs", walk.theirs), ("admin", walk.admin))
        }
        assert [walk.made[held] in found[who] for who in ("mine", "theirs", "admin")] == [True, False, True], path
    models = {headers["Authorization"]: names(walk, headers) for headers in (walk.mine, walk.theirs)}
    assert ["algebra@1" in found for found in models.values()] == [True, False]


def names(walk: Walk, headers: Headers) -> list[str]:
    return [card["id"] for card in walk.send("GET", "/v1/models", headers).json()["data"]]


def guarded(walk: Walk) -> list[tuple[str, str]]:
    return [(method, path) for method, path in walk.operations if path not in PUBLIC]


def test_what_another_key_made_cannot_be_named_in_a_body(walk: Walk) -> None:
    both: Headers = make_key(walk.control, "train", "explain", "score")
    text = {"question": "1?", "solution": "1"}
    rl = {"kind": "rl", "target_name": "other"}
    own = walk.control.http.post(
        "/v1/datasets",
        content=b'{"question": "1?", "solution": "1"}\n' * 9,
        headers=both | {"Content-Type": "application/jsonl"},
    ).json()["id"]
    move = {"version": "algebra@1", "expected": None}
    named = [
        ("POST", "/v1/train", rl | {"dataset": walk.made["dataset_id"]}, "/dataset"),
        ("POST", "/v1/train", rl | {"dataset": own, "splits": {"gate": walk.made["dataset_id"]}}, "/splits/gate"),
        ("POST", "/v1/train", rl | {"dataset": own, "teacher": "algebra@1"}, "/teacher"),
        ("POST", "/v1/train", rl | {"dataset": own, "student": "algebra"}, "/student"),
        ("POST", "/v1/explain", text | {"teacher": "algebra@1"}, "/teacher"),
        ("POST", "/v1/explain", text | {"teacher": f"{walk.made['job_id']}.1@0"}, "/teacher"),
        ("POST", "/v1/score", text | {"explanations": ["a"], "student": "algebra"}, "/student"),
        ("PUT", "/v1/aliases/teacher/fresh", move, "/version"),
    ]
    for method, path, body, param in named:
        answer = walk.control.http.request(method, path, json=body, headers=both)
        assert (answer.status_code, answer.json()["param"]) == (404, param), answer.text
    taken = walk.control.http.post("/v1/train", json=rl | {"dataset": own, "target_name": "algebra"}, headers=both)
    assert (taken.status_code, taken.json()["param"]) == (422, "/target_name")
    hidden = walk.control.http.put(
        "/v1/aliases/teacher/algebra", json={"version": "fake@0", "expected": None}, headers=both
    )
    assert (hidden.status_code, hidden.json()["param"]) == (422, "/alias")


def test_what_an_alias_has_served_is_known_to_all_and_deleted_by_its_maker_alone(tmp_path: Path) -> None:
    with control_app(tmp_path) as control:
        mine, theirs = (make_key(control, "train", "explain") for _ in range(2))
        with acting(mine):
            version = control.version("algebra")
        read = "/v1/teachers/algebra/versions/1"
        text = {"question": "1?", "solution": "1"}
        assert control.http.get(read, headers=theirs).status_code == 404
        move = {"version": version, "expected": "fake@0"}
        assert control.http.put("/v1/aliases/teacher/default", json=move, headers=mine).status_code == 200
        history = control.http.get("/v1/aliases/teacher/default/history", headers=theirs).json()["data"]
        assert history[0]["by"] == f"api (key {id_of(mine)})"
        answer = control.http.post("/v1/explain", json=text, headers=theirs)
        assert answer.json()["teacher"]["version"] == version
        back = {"expected": version, "to": "fake@0"}
        assert control.http.post("/v1/aliases/teacher/default/rollback", json=back, headers=mine).status_code == 200
        assert control.http.post("/v1/explain", json=text | {"teacher": version}, headers=theirs).status_code == 200
        assert control.http.get(read, headers=theirs).status_code == 200
        refused = control.http.delete(read, headers=theirs)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert control.http.delete(read, headers=mine).status_code == 200
