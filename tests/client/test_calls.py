import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import rlt_client
from rlt_client import Client
from rlt_client._resources.explain import ExplainOptions
from rlt_client._resources.score import ScoreOptions
from rlt_core.schemas.explain import ExplainRequest
from rlt_core.schemas.rollouts import RolloutPublishRequest
from rlt_core.schemas.score import RewardConfig, ScoreRequest
from tests.client.conftest import CAPABILITIES, Canned

Bodies = Callable[..., dict[str, Any]]


def test_explain_sends_only_what_was_said(client: Client, server: Canned, make_explanations: Bodies) -> None:
    server.says(httpx.Response(200, json=make_explanations(version="algebra@3")))
    answer = client.explain(question="2 + 3?", solution="5", teacher="algebra", n=2, include=("tokens",))
    expected = {"question": "2 + 3?", "solution": "5", "teacher": "algebra", "n": 2, "include": ["tokens"]}
    assert server.body() == expected
    assert answer.teacher.version == "algebra@3"


def test_options_are_exactly_the_fields_with_defaults() -> None:
    assert set(ExplainOptions.__annotations__) == set(ExplainRequest.model_fields) - {"question", "solution", "stream"}
    assert set(ScoreOptions.__annotations__) == set(ScoreRequest.model_fields) - {
        "question",
        "solution",
        "explanations",
    }


def test_fields_that_the_sdk_does_not_know_are_left_out(
    client: Client, server: Canned, make_explanations: Bodies
) -> None:
    server.says(httpx.Response(200, json=make_explanations(new_field=1, engine={"name": "x", "version": "1", "y": 2})))
    assert client.explain(question="q", solution="s").engine.name == "x"


def test_unset_fields_of_a_request_are_not_sent(client: Client, server: Canned) -> None:
    server.says(httpx.Response(422, text=""))
    request = ScoreRequest(question="q", solution="s", explanations=["e"], reward=RewardConfig(kl_mean=0.5))
    with pytest.raises(rlt_client.UnprocessableEntityError):
        client.score.create(request)
    assert server.body() == {"question": "q", "solution": "s", "explanations": ["e"], "reward": {"kl_mean": 0.5}}


def test_a_batch_is_cut_into_calls_of_256(client: Client, server: Canned, make_explanations: Bodies) -> None:
    server.says(httpx.Response(200, json=CAPABILITIES))
    for count in (256, 44):
        server.says(httpx.Response(200, json={"object": "list", "data": [make_explanations()] * count}))
    requests = [ExplainRequest(question=f"q{i}", solution="s") for i in range(300)]
    assert len(client.explain.batch(requests, at_once=1)) == 300
    assert [len(server.body(call)["items"]) for call in (1, 2)] == [256, 44]
    assert server.body(2)["items"][0]["question"] == "q256"


def test_a_failed_item_is_raised_with_its_place_in_the_whole_batch(
    client: Client, server: Canned, make_explanations: Bodies, make_problem: Callable[..., httpx.Response]
) -> None:
    bad = {"index": 1, "object": "error", "problem": make_problem(404, "model_not_found", "no x").json()}
    server.says(httpx.Response(200, json=CAPABILITIES))
    server.says(httpx.Response(200, json={"data": [make_explanations()] * 256}))
    server.says(httpx.Response(200, json={"data": [make_explanations(), bad]}))
    with pytest.raises(rlt_client.NotFoundError, match="item 257: no x") as caught:
        client.explain.batch([{"question": "q", "solution": "s"}] * 258, at_once=1)
    assert caught.value.index == 257


def test_an_empty_batch_asks_nothing(client: Client, server: Canned) -> None:
    assert client.explain.batch([]) == []
    assert client.score.batch([]) == []
    assert server.requests == []


def test_ids_cannot_change_the_path(client: Client, server: Canned, make_job: Bodies) -> None:
    server.says(httpx.Response(200, json=make_job()))
    client.jobs.get("../datasets?x")
    assert server.requests[0].url.raw_path == b"/v1/jobs/..%2Fdatasets%3Fx"


def test_a_key_is_sent_as_a_bearer_token(server: Canned) -> None:
    server.says(httpx.Response(200, json={"status": "ok"}))
    with Client("http://rlt.test", api_key="rlt_secret", transport=server.transport()) as client:
        client.health()
    assert server.requests[0].headers["Authorization"] == "Bearer rlt_secret"


def test_train_gives_the_job_and_a_dry_run_gives_a_forecast(client: Client, server: Canned, make_job: Bodies) -> None:
    spec = {"kind": "rl", "dataset": "ds_1", "target_name": "algebra"}
    server.says(httpx.Response(202, json=make_job()))
    server.says(httpx.Response(200, json={"spec": spec, "dataset_rows": 4, "train_rows": 4, "held_out_rows": {}}))
    assert client.train(spec).id == "job_1"
    assert client.train(spec, dry_run=True).train_rows == 4
    assert [request.url.params.get("dry_run") for request in server.requests] == [None, "true"]


def test_not_ready_is_an_answer(client: Client, server: Canned) -> None:
    body = {"status": "not_ready", "checks": {"engine": {"ok": False, "detail": "loading"}}}
    server.says(httpx.Response(503, json=body))
    assert client.ready().checks["engine"].detail == "loading"


DATASET = {
    "id": "ds_1",
    "created_at": "2030-01-01T00:00:00Z",
    "rows": 2,
    "size_bytes": 9,
    "sha256": "00",
    "columns": ["question"],
}


def test_rows_are_uploaded_as_lines(client: Client, server: Canned) -> None:
    server.says(httpx.Response(201, json=DATASET))
    rows = [{"question": "é?", "solution": "1"}, {"question": "b", "solution": "2"}]
    client.datasets.create(rows, name="sums", columns={"solution": "It is {solution}."})
    request = server.requests[0]
    assert [json.loads(line) for line in request.content.decode().splitlines()] == rows
    assert dict(request.url.params) == {"name": "sums", "columns": '{"solution": "It is {solution}."}'}


def test_a_file_is_uploaded_as_it_stands(client: Client, server: Canned, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"question": "a", "solution": "b"}\n')
    server.says(httpx.Response(201, json=DATASET))
    client.datasets.create(file)
    assert server.requests[0].content == file.read_bytes()


def test_a_version_is_read_by_name_and_number(client: Client, server: Canned) -> None:
    server.says(httpx.Response(404, text=""))
    with pytest.raises(rlt_client.NotFoundError):
        client.teachers.lineage("algebra@3")
    assert server.requests[0].url.path == "/v1/teachers/algebra/versions/3/lineage"


def test_a_name_where_a_version_is_needed_is_said_before_asking(client: Client, server: Canned) -> None:
    with pytest.raises(rlt_client.APIError, match="name@number"):
        client.students.get("algebra")
    assert server.requests == []


def test_a_rollback_to_the_version_before_says_null(client: Client, server: Canned) -> None:
    server.says(httpx.Response(409, text=""))
    with pytest.raises(rlt_client.ConflictError):
        client.aliases.rollback("teacher", "default", expected="a@2")
    assert server.body() == {"expected": "a@2", "to": None}


def test_a_new_alias_says_that_it_expects_none(client: Client, server: Canned) -> None:
    server.says(httpx.Response(409, text=""))
    with pytest.raises(rlt_client.ConflictError):
        client.aliases.put("teacher", "demo", version="a@2", expected=None)
    assert server.body() == {"version": "a@2", "expected": None, "gate": "none"}


def test_a_rollout_is_published_under_its_job(client: Client, server: Canned) -> None:
    server.says(httpx.Response(201, json={"version": "job_0123456789abcdef.1@2"}))
    published = client.publish_rollout("job_1", RolloutPublishRequest(attempt=1, step=2, sha256="0" * 64))
    assert published.version == "job_0123456789abcdef.1@2"
    assert server.requests[0].url.path == "/v1/jobs/job_1/rollouts"


def test_a_client_names_the_flow_of_its_calls_where_it_has_one() -> None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("RLT-Flow"))
        return httpx.Response(200, json={"status": "ok"})

    for flow in ("job_1", None):
        with Client("http://server", flow=flow, transport=httpx.MockTransport(answer)) as client:
            client.health()
    assert seen == ["job_1", None]
