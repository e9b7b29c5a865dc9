"""Rewards for other trainers: their signatures, and what a failed score is."""

import inspect
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

import rlt_client
from rlt_client import Client
from rlt_client.integrations import openrlhf, verl
from rlt_client.integrations.rewards import between, text_of
from rlt_client.integrations.trl import StudentReward
from tests.client.conftest import CAPABILITIES, Canned

Problems = Callable[..., httpx.Response]


def scored(*rewards: float) -> dict[str, Any]:
    part = {"r_ss": -1.0, "r_kl": 0.0, "format": 0.0, "well_formed": True}
    solution = {"mean": -1.0, "min": -1.0, "sum": -1.0, "tokens": 1}
    return {
        "id": "score_1",
        "object": "score.list",
        "created_at": "2030-01-01T00:00:00Z",
        "student": {"version": "base@0"},
        "format": "stratos@1",
        "engine": {"name": "fake", "version": "1"},
        "terms": ["solution", "format"],
        "reward": {},
        "scores": [
            {"index": place, "reward": reward, "solution": solution, **part} for place, reward in enumerate(rewards)
        ],
        "usage": {"prompt_tokens": 1},
    }


def answer(*items: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": list(items)})


def refused(make_problem: Problems, index: int) -> dict[str, Any]:
    return {"index": index, "object": "error", "problem": make_problem(422, "prompt_too_long", "too long").json()}


def columns(*questions: str) -> dict[str, Any]:
    """Give what TRL 1.16 passes beside completions: its own, then the dataset's columns."""
    return {
        "prompts": ["p"] * len(questions),
        "completion_ids": [[1]] * len(questions),
        "trainer_state": None,
        "log_extra": None,
        "log_metric": None,
        "question": list(questions),
        "solution": [f"{question}!" for question in questions],
    }


def test_completions_of_one_question_are_one_request(client: Client, server: Canned) -> None:
    server.says(httpx.Response(200, json=CAPABILITIES), answer(scored(-1.0, -3.0), scored(-2.0)))
    found = StudentReward(client)(completions=["one", "two", "three"], **columns("a", "b", "a"))
    assert found == [-1.0, -2.0, -3.0]
    items = server.body()["items"]
    assert [(item["question"], item["solution"]) for item in items] == [("a", "a!"), ("b", "b!")]
    assert [entry["text"] for entry in items[0]["explanations"]] == ["one", "three"]


def test_a_refused_question_has_no_reward_rather_than_a_zero(
    client: Client, server: Canned, make_problem: Problems, caplog: pytest.LogCaptureFixture
) -> None:
    server.says(httpx.Response(200, json=CAPABILITIES), answer(scored(-1.0, -3.0), refused(make_problem, 1)))
    assert StudentReward(client)(completions=["1", "2", "3"], **columns("a", "b", "a")) == [-1.0, None, -3.0]
    assert "too long" in caplog.text


def test_where_nothing_can_be_scored_the_error_is_raised(
    client: Client, server: Canned, make_problem: Problems
) -> None:
    reward = StudentReward(client)
    server.says(answer(refused(make_problem, 0)))
    with pytest.raises(rlt_client.UnprocessableEntityError):
        reward(completions=["1"], **columns("a"))
    gone = {"index": 1, "object": "error", "problem": make_problem(404, "model_not_found", "no student").json()}
    server.says(httpx.Response(200, json=CAPABILITIES), answer(scored(-1.0), gone))
    with pytest.raises(rlt_client.NotFoundError):
        reward(completions=["1", "2"], **columns("a", "b"))
    server.says(httpx.ConnectError("refused"))
    with pytest.raises(rlt_client.APIConnectionError):
        reward(completions=["1"], **columns("a"))


def test_a_completion_without_its_tags_is_scored_as_not_well_formed(client: Client, server: Canned) -> None:
    server.says(answer(scored(-1.0, -2.0)))
    extract = partial(between, start="<e>", end="</e>")
    chat = [{"role": "assistant", "content": "so <e> Add. </e>"}]
    StudentReward(client, extract=extract)(completions=[chat, "no tags"], **columns("a", "a"))
    assert server.body()["items"][0]["explanations"] == [
        {"text": "Add.", "well_formed": True},
        {"text": "", "well_formed": False},
    ]


def test_columns_of_other_names_are_named(client: Client, server: Canned) -> None:
    server.says(answer(scored(-1.0)))
    reward = StudentReward(client, question="problem", solution="answer")
    assert reward(completions=["1"], problem=["a"], answer=["b"]) == [-1.0]
    with pytest.raises(rlt_client.APIError, match="no column 'problem'"):
        reward(completions=["1"], question=["a"], solution=["b"])


def test_trl_names_it_by_what_it_measures(client: Client) -> None:
    assert StudentReward(client, measure="r_ss").__name__ == "student_r_ss"
    assert not inspect.iscoroutinefunction(StudentReward(client))


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("plain", "plain"),
        ([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}], "b"),
        ([{"role": "assistant", "content": None}], ""),
        ([{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "ab"),
        ([], ""),
    ],
)
def test_a_completion_is_a_text_or_a_chat(completion: Any, text: str) -> None:
    assert text_of(completion) == text


@pytest.fixture
def served(client: Client, server: Canned, monkeypatch: pytest.MonkeyPatch) -> Canned:
    """Give the examples, which make a client by themselves, one of canned answers."""
    for module in (verl, openrlhf):
        monkeypatch.setattr(module, "Client", lambda: client)
        module._judge.cache_clear()
    return server


def test_verls_compute_score_is_called_as_verl_does(served: Canned) -> None:
    parameters = list(inspect.signature(verl.compute_score).parameters)
    assert parameters[:4] == ["data_source", "solution_str", "ground_truth", "extra_info"]
    served.says(answer(scored(-1.5)))
    row = {"data_source": "mine", "solution_str": "Add.", "ground_truth": "5", "extra_info": {"question": "2 + 3?"}}
    assert verl.compute_score(**row, reward_router_address="http://x") == -1.5
    item = served.body()["items"][0]
    assert (item["question"], item["solution"], item["explanations"][0]["text"]) == ("2 + 3?", "5", "Add.")


def test_verl_without_a_question_says_where_it_belongs(served: Canned) -> None:
    with pytest.raises(rlt_client.APIError, match="extra_info of a row of 'mine'"):
        verl.compute_score("mine", "Add.", "5", {"index": 3})


def test_openrlhfs_reward_func_is_called_as_openrlhf_does(served: Canned) -> None:
    torch = pytest.importorskip("torch")
    assert list(inspect.signature(openrlhf.reward_func).parameters)[:3] == ["queries", "prompts", "labels"]
    served.says(answer(scored(-1.5, -2.5)))
    label = json.dumps({"question": "2 + 3?", "solution": "5"})
    found = openrlhf.reward_func(["p: Add.", "p: No."], ["p: ", "p: "], [label, label])
    assert found["rewards"].tolist() == [-1.5, -2.5]
    assert found["scores"] is found["rewards"]
    assert isinstance(found["extra_logs"]["student_reward"], torch.Tensor)
    assert [entry["text"] for entry in served.body()["items"][0]["explanations"]] == ["Add.", "No."]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Add.<|im_end|>", "Add."),
        ("Add. <|im_end|>\n<|endoftext|>\n", "Add."),
        ("Add.</s>", "Add."),
        ("Add.<\uff5cend\u2581of\u2581sentence\uff5c>", "Add."),
        ("a <|b|> c", "a <|b|> c"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
    ],
)
def test_special_tokens_that_openrlhf_decodes_are_not_scored(served: Canned, written: str, text: str) -> None:
    pytest.importorskip("torch")
    served.says(answer(scored(-1.5)))
    openrlhf.reward_func(["<|im_start|>p: " + written], ["<|im_start|>p: "], ['{"question": "q", "solution": "s"}'])
    assert served.body()["items"][0]["explanations"][0]["text"] == text


def test_openrlhfs_prompt_must_be_how_its_query_begins(served: Canned) -> None:
    with pytest.raises(rlt_client.APIError, match="does not begin with its prompt"):
        openrlhf.reward_func(["a cut prompt: Add."], ["not a cut prompt: "], ['{"question": "q", "solution": "s"}'])
    assert served.requests == []


def test_openrlhfs_label_must_hold_question_and_solution(served: Canned) -> None:
    with pytest.raises(rlt_client.APIError, match="is not JSON with question and solution"):
        openrlhf.reward_func(["q"], ["p"], ["5"])
