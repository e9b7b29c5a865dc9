"""No value in any field or parameter of the control routes makes the server fail, whatever it is."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.jobs import RlSpec, WarmupSpec
from rlt_core.schemas.rollouts import RolloutPublishRequest
from rlt_core.schemas.teachers import AliasPut, AliasRollback, RegisterVersionRequest
from tests.support.control import Control, control_app

NASTY: list[Any] = [
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    -(2**70),
    10**400,
    1e308,
    5e-324,
    "",
    " ",
    "\x00",
    "a\n",
    "\u2028",
    "\U0010ffff",
    "../../etc/passwd",
    "default",
    "fake@0",
    "fake@00",
    "fake@999999999",
    "job_0123456789abcdef.1@3",
    "hub:",
    "x" * 300,
    "9999-12-31T23:59:59-23:59",
    "-infinity",
    [],
    [[]],
    ["default", "default"],
    {},
    {"": None},
    {"rank": 10**30, "targets": [""]},
    {"gate": True, "select": "", "report": 5e-324},
    {"alias": "\x00", "when": "always"},
]
SEGMENTS = ["%00", "%0A", "%2F", "%2e%2e", "%F0%9F%A6%86", "%FF", "+", "x" * 300, "default", "fake", "0", "%22%27;--"]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home")) as made:
        yield made


def spoilt_bodies(model: type[BaseModel], good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    # Other kinds share most of their fields with rl: only their own are tried again.
    shared = RlSpec.model_fields.keys() if model in (WarmupSpec, CollectSpec) else set[str]()
    for field in [*(name for name in model.model_fields if name not in shared), "unknown"]:
        for value in NASTY:
            yield {**good, field: value}


@pytest.mark.parametrize(
    ("method", "path", "model", "good"),
    [
        ("POST", "/v1/train", RlSpec, {"kind": "rl", "target_name": "algebra"}),
        ("POST", "/v1/train", WarmupSpec, {"kind": "warmup", "role": "teacher", "target_name": "algebra"}),
        ("POST", "/v1/train", CollectSpec, {"kind": "collect"}),
        ("PUT", "/v1/aliases/teacher/nasty", AliasPut, {"version": "fake@0"}),
        ("POST", "/v1/aliases/teacher/default/rollback", AliasRollback, {"expected": "fake@0"}),
        ("POST", "/v1/teachers/nasty/versions", RegisterVersionRequest, {"folder": "nasty"}),
        (
            "POST",
            "/v1/jobs/job_00000000000000000000/rollouts",
            RolloutPublishRequest,
            {"attempt": 1, "step": 1, "sha256": "0" * 64},
        ),
    ],
)
def test_no_value_of_a_field_makes_the_server_fail(
    control: Control, method: str, path: str, model: type[BaseModel], good: dict[str, Any]
) -> None:
    dataset = control.upload()
    wanted = {"dataset": dataset} if path == "/v1/train" else {}
    for body in spoilt_bodies(model, {**good, **wanted}):
        answer = control.http.request(method, path, json=body)
        assert answer.status_code < 500, (body, answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/{}",
        "/v1/jobs/{}/events",
        "/v1/jobs/{}/logs",
        "/v1/jobs?after={}",
        "/v1/jobs?limit={}",
        "/v1/jobs?status={}",
        "/v1/jobs/job_00000000000000000000/metrics?after_step={}",
        "/v1/jobs/job_00000000000000000000/events?after={}",
        "/v1/datasets/{}",
        "/v1/datasets/{}/rows?offset={}",
        "/v1/datasets?after={}",
        "/v1/teachers/{}/versions",
        "/v1/teachers/{}/versions/{}",
        "/v1/students/{}/versions/{}/lineage",
        "/v1/teachers?after={}",
        "/v1/teachers/fake/versions?after={}",
        "/v1/aliases/{}/default/history",
        "/v1/aliases/teacher/{}/history",
        "/v1/aliases/teacher/default/history?after={}",
        "/v1/evaluations/{}",
        "/v1/evaluations/{}/rows?offset={}",
        "/v1/formats/{}",
    ],
)
def test_no_text_in_a_path_or_query_makes_the_server_fail(control: Control, path: str) -> None:
    for text in [*SEGMENTS, "-1", "9" * 30, "1e9", "NaN"]:
        answer = control.http.get(path.replace("{}", text))
        assert answer.status_code < 500, (text, answer.text)
