"""Every call of the SDK is an operation of the server's OpenAPI document, and the other way round."""

import re
from pathlib import Path
from typing import Any

import pytest

from rlt_client._base_client import ServerCalls
from rlt_client._calls import Call, Together
from rlt_client._resources.aliases import AliasCalls
from rlt_client._resources.datasets import DatasetCalls, _download
from rlt_client._resources.evaluations import EvaluationCalls
from rlt_client._resources.explain import ExplainCalls
from rlt_client._resources.job_calls import JobCalls
from rlt_client._resources.models import ModelCalls
from rlt_client._resources.projects import ProjectCalls
from rlt_client._resources.score import ScoreCalls
from rlt_client._resources.shadows import ShadowCalls
from rlt_client._resources.solve import SolveCalls
from rlt_client._resources.train import TrainCalls
from rlt_core.schemas.jobs import Job
from rlt_core.schemas.projects import Quotas
from rlt_core.schemas.rollouts import RolloutPublishRequest
from tests.support.service import make_app

WITHOUT_A_CALL = {"GET /metrics", "POST /v1/chat/completions", "GET /v1/formats/{format_id}"}
"""Prometheus and OpenAI's clients have their own; one format is an entry of all formats."""

ASKED: dict[str, Any] = {"question": "q", "solution": "s"}


class TeacherCalls(ModelCalls):
    _root = "teachers"


class StudentCalls(ModelCalls):
    _root = "students"


def of_models(calls: ModelCalls) -> list[Call[Any]]:
    return [
        calls.list(limit=1, after="a"),
        calls.iter().first,
        calls.versions("a", limit=1, after="b"),
        calls.iter_versions("a").first,
        calls.get("a@1"),
        calls.lineage("a@1"),
        calls.delete("a@1"),
        calls.register("a", folder="f"),
    ]


def of_asking() -> list[Call[Any]]:
    explain, score, solve = ExplainCalls(), ScoreCalls(), SolveCalls()
    batches = [explain.batch([ASKED]), score.batch([ASKED]), solve.batch([ASKED])]
    steps = [next(plan) for plan in batches]
    return [
        explain(**ASKED),
        score(**ASKED, explanations=["e"]),
        solve(question="q"),
        *[call for step in steps if isinstance(step, Together) for call in step.calls],
    ]


def of_control() -> list[Call[Any]]:
    train, jobs, datasets, aliases = TrainCalls[Job](), JobCalls[Job](), DatasetCalls(), AliasCalls()
    shadows, evaluations, server, projects = ShadowCalls(), EvaluationCalls(), ServerCalls(), ProjectCalls()
    return [
        *(train.create({}), train.dry_run({})),
        *(jobs.get("j"), jobs.list(limit=1, after="a", status="queued", kind="rl", pipeline="p")),
        *(jobs.iter(status="queued", kind="rl", pipeline="p").first, jobs.checkpoints("j")),
        *(jobs.cancel("j"), jobs.pause("j"), jobs.resume("j"), jobs.logs("j", max_bytes=1)),
        *(jobs.metrics("j", after_step=1, max_points=1), jobs.events_after("j", limit=1)),
        server.publish_rollout("j", RolloutPublishRequest(attempt=1, step=1, sha256="0" * 64)),
        *(datasets.create([], name="n", columns={"a": "b"}, benchmark="b"), datasets.get("d")),
        *(datasets.list(limit=1, after="a"), datasets.iter().first, datasets.rows("d", offset=1, limit=1)),
        *(datasets.iter_rows("d").first, datasets.delete("d"), _download("d", "jsonl")),
        *(aliases.list(), aliases.put("teacher", "a", version="v@1", expected=None)),
        *(aliases.history("teacher", "a"), aliases.rollback("teacher", "a", expected="v@1")),
        *(shadows.put("a", version="v@1"), shadows.get("a"), shadows.delete("a"), shadows.evaluate("a")),
        *(evaluations.get("e"), evaluations.measured("e"), evaluations.rows("e", offset=1, limit=1)),
        *(evaluations.answers("e"), evaluations.iter_rows("e").first, evaluations.compare(["a", "b"])),
        *(projects.list(), projects.get("p"), projects.create("p"), projects.set_quotas("p", Quotas())),
        *(projects.keys(), projects.revoke_key("k"), projects.audit(after="1", key="k", project="p")),
        *(server.capabilities(), server.formats(), server.models(), server.health(), server.ready()),
    ]


CALLS = [*of_asking(), *of_control(), *of_models(TeacherCalls()), *of_models(StudentCalls())]


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Give every operation by its method and path."""
    folder: Path = tmp_path_factory.mktemp("app")
    paths: dict[str, Any] = make_app(folder).openapi()["paths"]
    return {f"{method.upper()} {path}": said for path, methods in paths.items() for method, said in methods.items()}


def operation_of(call: Call[Any], operations: dict[str, dict[str, Any]]) -> str:
    """Name the operation that a call is, the one with the fewest braces where several fit."""
    said = f"{call.method} {call.path}"
    fitting = [name for name in operations if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", name), said)]
    return min(fitting, key=lambda name: name.count("{"), default=f"none: {said}")


def names_of(operation: dict[str, Any], where: str) -> set[str]:
    return {one["name"] for one in operation.get("parameters", ()) if one.get("in") == where}


def test_every_operation_has_a_call_and_every_call_an_operation(operations: dict[str, dict[str, Any]]) -> None:
    assert {operation_of(call, operations) for call in CALLS} == set(operations) - WITHOUT_A_CALL


def test_what_is_sent_under_a_key_is_declared_to_take_one(operations: dict[str, dict[str, Any]]) -> None:
    keyed = {operation_of(call, operations) for call in CALLS if call.keyed}
    assert len(keyed) == 15
    assert [name for name in keyed if "Idempotency-Key" not in names_of(operations[name], "header")] == []


def test_what_writes_is_keyed_or_repeatable_by_what_it_is(operations: dict[str, dict[str, Any]]) -> None:
    writes = {operation_of(call, operations) for call in CALLS if call.method != "GET" and not call.keyed}
    made = {name for name in writes if not re.match(r"POST /v1/(explain|score|solve)", name)}
    assert made == {
        "POST /v1/train",  # dry_run
        *(f"POST /v1/jobs/{{job_id}}/{word}" for word in ("cancel", "pause", "resume", "rollouts")),
    }


def test_parameters_of_a_query_are_those_of_the_operation(operations: dict[str, dict[str, Any]]) -> None:
    for call in CALLS:
        name = operation_of(call, operations)
        assert set(call.params) <= names_of(operations[name], "query"), name
