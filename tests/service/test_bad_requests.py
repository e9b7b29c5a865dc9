"""What /v1/explain and /v1/score refuse, and the words that say what to do. No input of a user is a 500."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rlt_core.formats import ExplanationPiece
from rlt_core.tokens import EncodedSequence
from tests.support.control import check_problem
from tests.support.service import asgi_scope, codec_of, running_app, services_of

GOOD = {"question": "What is 17 + 25?", "solution": "42"}
SCORE = {**GOOD, "explanations": ["4"]}
JSON = {"Content-Type": "application/json"}
LONG = "word " * 3000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Start a server that takes little, so that its limits are easy to reach."""
    limits: dict[str, Any] = {
        "max_body_bytes": 2048,
        "max_json_depth": 8,
        "max_text_characters": 500,
        "max_queued_requests": 4,
    }
    with running_app(tmp_path_factory.mktemp("home"), max_model_len=1024, **limits) as client:
        yield client


@pytest.fixture(scope="module")
def tokens(app_client: TestClient) -> dict[str, Any]:
    """Tokens as /explain gives them."""
    answer = app_client.post("/v1/explain", json={**GOOD, "seed": 1, "include": ["tokens"]})
    return answer.json()["explanations"][0]["tokens"]


def test_bodies_as_deep_as_the_limit_are_read(app_client: TestClient) -> None:
    content = b"[" * 32 + b"]" * 32
    check_problem(app_client.post("/v1/explain", content=content, headers=JSON), 422, "invalid_request", "")


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "application/vnd.rlt+json", "APPLICATION/JSON"]
)
def test_json_by_its_other_names_is_read(app_client: TestClient, media_type: str) -> None:
    answer = app_client.post("/v1/explain", content=json.dumps(GOOD), headers={"Content-Type": media_type})
    assert answer.status_code == 200


def test_a_body_above_the_limit_is_refused_by_its_announced_length(small: TestClient) -> None:
    answer = small.post("/v1/explain", content=b" " * 4096, headers=JSON)
    assert "2048 bytes" in check_problem(answer, 413, "payload_too_large")["detail"]


async def test_a_body_in_chunks_is_not_read_beyond_the_limit(small: TestClient) -> None:
    """Without a length the limit must hold while the body comes: 3 of 1,000 chunks are taken."""
    status, taken = await post_chunks(small, [b" " * 1000] * 1000, headers=[(b"transfer-encoding", b"chunked")])
    assert (status, taken) == (413, 3)


async def test_a_body_announced_above_the_limit_is_not_read_at_all(small: TestClient) -> None:
    status, taken = await post_chunks(small, [b" " * 1000] * 1000, headers=[(b"content-length", b"1000000")])
    assert (status, taken) == (413, 0)


async def post_chunks(
    client: TestClient, chunks: list[bytes], *, headers: list[tuple[bytes, bytes]]
) -> tuple[int, int]:
    """Send a body piece by piece; give the status, and how many pieces were taken."""
    left = list(chunks)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = asgi_scope("/v1/explain", headers=headers)
    app: Any = client.app
    await app(scope, receive, send)
    return sent[0]["status"], len(chunks) - len(left)


def test_a_text_beyond_its_characters_is_not_tokenised(small: TestClient) -> None:
    found = check_problem(
        small.post("/v1/explain", json=GOOD | {"question": "x" * 501}), 422, "invalid_request", "/question"
    )
    assert ("501" in found["detail"], "500" in found["detail"]) == (True, True)
    body = GOOD | {"explanations": ["y", "x" * 501]}
    check_problem(small.post("/v1/score", json=body), 422, "invalid_request", "/explanations/1")


def test_the_message_of_a_long_prompt_has_both_lengths(app_client: TestClient) -> None:
    codec = codec_of(app_client)
    prompt = len(codec.teacher_sequence(question=GOOD["question"], solution=GOOD["solution"]).token_ids)
    found = app_client.post("/v1/explain", json=GOOD | {"max_tokens": 2000}).json()
    assert f"{prompt} tokens" in found["detail"]
    assert f"{prompt + 2000}, this engine holds 2048" in found["detail"]


def length_of(write: Callable[..., EncodedSequence], body: dict[str, Any], explanation: str) -> int:
    piece = ExplanationPiece(text=explanation)
    return len(write(question=body["question"], solution=body["solution"], explanation=piece).token_ids)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"explanations": ["4", LONG]}, "/explanations/1"),
        ({"explanations": [""], "solution": LONG, "baseline": True}, "/explanations/0"),
    ],
)
def test_the_message_of_a_long_score_has_both_lengths(
    app_client: TestClient, changes: dict[str, Any], param: str
) -> None:
    body: dict[str, Any] = GOOD | changes
    length = length_of(codec_of(app_client).student_sequence, body, body["explanations"][-1])
    found = check_problem(app_client.post("/v1/score", json=body), 422, "prompt_too_long", param)
    assert f"what the student reads has {length} tokens, this engine holds 2048" in found["detail"]


def test_a_score_too_long_for_the_teacher_alone_has_both_lengths(app_client: TestClient) -> None:
    codec = codec_of(app_client)
    fits_the_student = "4" * (2048 - length_of(codec.student_sequence, GOOD, ""))
    body = GOOD | {"explanations": [fits_the_student]}
    assert app_client.post("/v1/score", json=body).status_code == 200
    length = length_of(codec.teacher_sequence, GOOD, fits_the_student)
    answer = app_client.post("/v1/score", json=body | {"teacher": "default"})
    found = check_problem(answer, 422, "prompt_too_long", "/explanations/0")
    assert f"what the teacher reads has {length} tokens, this engine holds 2048" in found["detail"]


def test_the_longest_that_fits_is_taken(app_client: TestClient) -> None:
    codec = codec_of(app_client)
    room = 2048 - len(codec.teacher_sequence(question=GOOD["question"], solution=GOOD["solution"]).token_ids)
    assert app_client.post("/v1/explain", json=GOOD | {"max_tokens": room}).status_code == 200
    check_problem(
        app_client.post("/v1/explain", json=GOOD | {"max_tokens": room + 1}), 422, "prompt_too_long", "/max_tokens"
    )


@pytest.mark.parametrize(
    "name", ["nobody", "fake@7", "fake@0\n", "default\n", "../etc", "\x00", "job_x@1", "A" * 200, "é"]
)
@pytest.mark.parametrize(
    ("path", "role"), [("/v1/explain", "teacher"), ("/v1/score", "student"), ("/v1/score", "teacher")]
)
def test_unknown_versions_are_not_found(app_client: TestClient, path: str, role: str, name: str) -> None:
    body = (GOOD if path == "/v1/explain" else SCORE) | {role: name}
    found = check_problem(app_client.post(path, json=body), 404, "model_not_found", f"/{role}")
    assert f"no {role}" in found["detail"]


def test_a_name_that_is_nearly_right_is_offered(app_client: TestClient) -> None:
    found = app_client.post("/v1/explain", json=GOOD | {"teacher": "defualt"}).json()
    assert "Did you mean default" in found["detail"]


def test_a_version_of_another_base_is_not_answered_by_this_one(tmp_path: Path) -> None:
    with running_app(tmp_path) as client:
        services_of(client).registry.ensure_base(name="other", base_model="builtin:other", format="stratos@1")
        found = check_problem(
            client.post("/v1/explain", json=GOOD | {"teacher": "other@0"}), 404, "model_not_found", "/teacher"
        )
        assert "RLT_BASE_MODEL=builtin:other" in found["detail"]


# The coldest number above 0, one that is 0 in float32, and one that vLLM would turn into 0.01.
TINY = [5e-324, 1e-40, 0.0099]


@pytest.mark.parametrize("temperature", TINY)
@pytest.mark.parametrize("more", [{}, {"top_p": 0.9}, {"include": ["tokens", "score"]}], ids=["", "top_p", "score"])
def test_a_teacher_that_is_nearly_greedy_is_refused(
    app_client: TestClient, more: dict[str, Any], temperature: float
) -> None:
    answer = app_client.post("/v1/explain", json=GOOD | {"temperature": temperature, **more})
    found = check_problem(answer, 422, "invalid_request", "/temperature")
    assert f"0 (greedy) or at least 0.01; got {temperature}" in found["detail"]


@pytest.mark.parametrize("temperature", TINY)
@pytest.mark.parametrize("more", [{}, {"teacher": "default"}], ids=["given", "computed"])
def test_log_probs_of_a_nearly_greedy_teacher_are_refused(
    app_client: TestClient, tokens: dict[str, Any], more: dict[str, Any], temperature: float
) -> None:
    body = GOOD | {"explanations": [{"tokens": tokens | {"temperature": temperature}}], **more}
    answer = app_client.post("/v1/score", json=body)
    check_problem(answer, 422, "invalid_request", "/explanations/0/tokens/temperature")


def test_the_coldest_temperature_is_taken_and_its_tokens_are_scored(app_client: TestClient) -> None:
    cold = GOOD | {"temperature": 0.01, "include": ["tokens", "score"]}
    answer = app_client.post("/v1/explain", json=cold)
    assert answer.status_code == 200, answer.text
    tokens = answer.json()["explanations"][0]["tokens"]
    body = GOOD | {"explanations": [{"tokens": tokens}], "reward": {"temperature": 0.01}, "teacher": "default"}
    assert app_client.post("/v1/score", json=body).status_code == 200


def test_logprobs_a_rounding_above_0_are_taken(app_client: TestClient, tokens: dict[str, Any]) -> None:
    changed = tokens | {"completion_logprobs": [1e-6] * len(tokens["completion_logprobs"])}
    assert app_client.post("/v1/score", json=GOOD | {"explanations": [{"tokens": changed}]}).status_code == 200


def test_scores_of_one_request_hold_the_same_terms(app_client: TestClient, tokens: dict[str, Any]) -> None:
    mixed = GOOD | {"explanations": [{"tokens": tokens}, "4"]}
    check_problem(app_client.post("/v1/score", json=mixed), 422, "mixed_terms", "/explanations/1")
    named = app_client.post("/v1/score", json=mixed | {"teacher": "default"})
    assert named.json()["terms"] == ["solution", "kl", "format"]


def test_two_temperatures_in_one_request_are_refused(app_client: TestClient, tokens: dict[str, Any]) -> None:
    two = GOOD | {"explanations": [{"tokens": tokens}, {"tokens": tokens | {"temperature": 1.0}}]}
    found = check_problem(app_client.post("/v1/score", json=two), 422, "mixed_terms", "/explanations/1")
    assert ("0.7" in found["detail"], "1.0" in found["detail"]) == (True, True)
    # The text's log-probs would be computed at the reward's temperature, the tokens' at their own.
    text = GOOD | {"explanations": [{"tokens": tokens}, "4"], "teacher": "default", "reward": {"temperature": 1.0}}
    check_problem(app_client.post("/v1/score", json=text), 422, "mixed_terms", "/explanations/1")


def test_several_findings_are_all_listed(app_client: TestClient) -> None:
    found = app_client.post("/v1/explain", json={"question": "", "answer": "42", "n": 0}).json()
    assert found["code"] == "unknown_field"
    assert {finding["param"] for finding in found["errors"]} == {"/question", "/answer", "/n", "/solution"}


def test_more_than_the_server_ever_takes_is_refused_for_good(small: TestClient) -> None:
    found = check_problem(small.post("/v1/explain", json=GOOD | {"n": 5, "max_tokens": 16}), 422, "invalid_request")
    assert "takes 4" in found["detail"]


@pytest.mark.parametrize("path", ["/v1/explain", "/v1/score", "/v1/train"])
def test_a_giant_field_name_gets_a_short_answer(app_client: TestClient, path: str) -> None:
    answer = app_client.post(path, json={"kind": "rl", "a" * 2_000_000: 1})
    assert answer.status_code == 422
    assert len(answer.content) < 10_000
