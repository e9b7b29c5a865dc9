"""The whole loop on real parts: explain -> score -> train -> publish -> swap -> explain, over HTTP as users do it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlt_client import Client
from rlt_client.demo.questions import generate_questions
from rlt_core.rewards import RewardWeights
from rlt_core.schemas.jobs import Job
from rlt_core.schemas.score import ExplanationInput, RewardConfig, Score, StudentSequence

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

QUESTIONS = generate_questions(count=12, seed=11)


def run_job(client: Client, spec: dict[str, object]) -> Job:
    job = client.jobs.wait(client.train(spec).id)
    assert job.status == "succeeded", job.error
    return job


def test_every_answer_names_the_real_engine_and_the_base_version(real_client: Client) -> None:
    question = QUESTIONS[0]
    answer = real_client.explain(
        question=question.question, solution=question.solution, n=2, max_tokens=24, include=["tokens", "score"]
    )
    assert answer.engine.name == "vllm"
    assert answer.teacher.version == "smollm2-135m@0"
    assert answer.score is not None
    assert answer.score.engine.name == "vllm"
    assert answer.score.terms == ["solution", "kl", "format"]
    for explanation, score in zip(answer.explanations, answer.score.scores, strict=True):
        tokens = explanation.tokens
        assert tokens is not None
        assert len(tokens.completion_token_ids) == len(tokens.completion_logprobs) <= 24
        assert score.reward == pytest.approx(score.r_ss - score.r_kl + score.format)


def test_64_explanations_of_one_call_read_their_prompt_once(real_client: Client) -> None:
    question = QUESTIONS[4]
    answer = real_client.explain(
        question=question.question, solution=question.solution, n=64, max_tokens=3, seed=1, include=["tokens"]
    )
    tokens = [one.tokens for one in answer.explanations]
    assert [one.index for one in answer.explanations] == list(range(64))
    assert len({tuple(one.completion_token_ids) for one in tokens if one is not None}) > 32
    assert answer.usage.prompt_tokens == sum(len(one.prompt_token_ids) for one in tokens if one is not None)
    assert answer.usage.cached_tokens > 0.6 * answer.usage.prompt_tokens


def test_worked_steps_are_worth_more_to_the_real_student_than_nonsense(real_client: Client) -> None:
    question = QUESTIONS[1]
    response = real_client.score(
        question=question.question,
        solution=question.solution,
        explanations=[question.trace, "Bananas are yellow and the sea is deep."],
        baseline=True,
    )
    worked, nonsense = response.scores
    assert worked.r_ss > nonsense.r_ss
    assert response.baseline is not None
    assert worked.uplift == pytest.approx(worked.solution.mean - response.baseline.mean)
    weights = RewardWeights()
    expected = weights.solution_mean * worked.solution.mean + weights.solution_min * worked.solution.min
    assert worked.r_ss == pytest.approx(expected)


@pytest.fixture(scope="module")
def reference(real_home: Path) -> Any:
    """Load the same weights into plain transformers, float32."""
    folder = real_home / "models" / "smollm2-135m"
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def logits_of(reference: Any, sequence: StudentSequence) -> torch.Tensor:
    with torch.no_grad():
        return reference(input_ids=torch.tensor([sequence.token_ids])).logits[0].double()


def test_scores_are_what_transformers_computes_of_the_same_ids(real_client: Client, reference: Any) -> None:
    """Ten items, each at two temperatures: every log-prob, and the means and minima over the solution."""
    compared = 0
    for question in QUESTIONS[:5]:
        explanations: list[str | ExplanationInput] = [question.trace, f" {question.question[::-1]}\n\N{SNOWMAN}"]
        logits: dict[tuple[int, ...], torch.Tensor] = {}
        for temperature in (0.7, 1.0):
            answer = real_client.score(
                question=question.question,
                solution=question.solution,
                explanations=explanations,
                include=["tokens", "sequence"],
                reward=RewardConfig(temperature=temperature),
            )
            for score in answer.scores:
                assert score.sequence is not None
                ids = tuple(score.sequence.token_ids)
                if ids not in logits:
                    logits[ids] = logits_of(reference, score.sequence)
                check_score(score, logits_TV=logits[ids], temperature=temperature)
                compared += 1
    assert compared == 2 * 10


def check_score(score: Score, *, logits_TV: torch.Tensor, temperature: float) -> None:
    sequence, tokens = score.sequence, score.tokens
    assert sequence is not None
    assert tokens is not None
    ids = sequence.token_ids
    logprobs_TV = torch.log_softmax(logits_TV / temperature, dim=-1)
    expected = [0.0, *(float(logprobs_TV[place - 1, ids[place]]) for place in range(1, len(ids)))]
    places = [*range(*sequence.explanation), *range(*sequence.solution)]
    assert [token.id for token in tokens] == [ids[place] for place in places]
    assert [token.logprob for token in tokens] == pytest.approx([expected[place] for place in places], abs=1e-4)
    solution = expected[slice(*sequence.solution)]
    found = (score.solution.mean, score.solution.min, score.solution.tokens)
    assert found == pytest.approx((sum(solution) / len(solution), min(solution), len(solution)), abs=1e-4)


def test_a_teacher_is_warmed_up_reinforced_gated_and_swapped_into_serving(real_client: Client) -> None:
    dataset = real_client.datasets.create([question.to_row() for question in QUESTIONS], name="loop").id
    warmup = {"kind": "warmup", "role": "teacher", "dataset": dataset, "target_name": "loop", "max_tokens": 256}
    warmed = run_job(real_client, {**warmup, "max_steps": 1, "batch_size": 2}).result
    assert warmed is not None
    assert warmed.teacher == "loop@1"

    base = "smollm2-135m@0"
    real_client.aliases.put("teacher", "default", version="loop@1", expected=base)
    reinforcement = {
        "kind": "rl",
        "teacher": "default",
        "dataset": dataset,
        "target_name": "loop",
        "steps": 1,
        "questions_per_step": 2,
        "samples_per_question": 2,
        "max_tokens": 24,
        "reward": {"kl_mean": 0.3, "kl_max": 0.003},
        "splits": {"gate": 0.25},
        "promote": {"alias": "default", "when": "if_better"},
    }
    job = run_job(real_client, reinforcement)
    assert job.result is not None
    assert job.result.teacher == "loop@2"
    assert job.result.promotion is not None
    assert job.result.promotion.outcome in ("promoted", "refused")

    evaluation = real_client.evaluations.get(job.result.evaluation or "")
    assert (evaluation.before, evaluation.after) == ("loop@1", "loop@2")
    gain = evaluation.difference
    assert (gain.ci_low > 0) == (job.result.promotion.outcome == "promoted")
    rows = real_client.evaluations.rows(evaluation.id)
    trained_on_nothing_of = {row.question_id for row in rows.data}
    assert len(trained_on_nothing_of) == gain.n >= 2

    lineage = real_client.teachers.lineage("loop@2")
    assert (lineage.parent, lineage.job, lineage.dataset) == ("loop@1", job.id, dataset)
    assert lineage.evaluations == [evaluation.id]

    published = [event for event in real_client.jobs.events(job.id) if event.type == "published"]
    assert [event.data["step"] for event in published] == [0, 1]
    assert [event.data["version"] for event in published] == [f"{job.id}.1@0", f"{job.id}.1@1"]

    serving = "loop@2" if job.result.promotion.outcome == "promoted" else "loop@1"
    if serving == "loop@1":
        real_client.aliases.put("teacher", "default", version="loop@2", expected="loop@1")
    question = QUESTIONS[2]
    swapped = real_client.explain(question=question.question, solution=question.solution, max_tokens=8)
    assert swapped.teacher.version == "loop@2"
    real_client.aliases.rollback("teacher", "default", expected="loop@2")
    back = real_client.explain(question=question.question, solution=question.solution, max_tokens=8)
    assert back.teacher.version == "loop@1"
    real_client.aliases.put("teacher", "default", version=base, expected="loop@1")


def test_tokens_as_generated_score_the_same_twice_and_as_explain_scored_them(real_client: Client) -> None:
    question = QUESTIONS[3]
    answer = real_client.explain(
        question=question.question, solution=question.solution, max_tokens=24, seed=5, include=["tokens", "score"]
    )
    explanation = answer.explanations[0]
    assert answer.score is not None
    entry = ExplanationInput(text=explanation.text, tokens=explanation.tokens, well_formed=explanation.well_formed)
    again = real_client.score(question=question.question, solution=question.solution, explanations=[entry])
    assert again.scores[0].reward == pytest.approx(answer.score.scores[0].reward, abs=1e-4)


@pytest.mark.usefixtures("real_client")
def test_state_lies_under_the_state_folder_alone(real_home: Path, user_home: Path) -> None:
    assert list(user_home.iterdir()) == []
    assert json.loads((real_home / "server.json").read_text())["address"].startswith("http://127.0.0.1:")
    assert {"artifacts", "logs", "rlt.db"} <= {path.name for path in real_home.iterdir()}
