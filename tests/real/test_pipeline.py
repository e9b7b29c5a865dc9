"""A pipeline on real vLLM: a teacher's explanations become a student, which is measured and reinforced."""

import pytest

from rlt_client import Client
from rlt_client.demo.questions import Question, generate_questions
from rlt_core.schemas.jobs import Job, StepResult

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

QUESTIONS = generate_questions(count=3, seed=23)
SMALL = {"max_tokens": 512, "max_steps": 1, "batch_size": 2, "lora": {"rank": 4, "alpha": 8.0}}
STEP = {"steps": 1, "questions_per_step": 2, "samples_per_question": 2, "max_tokens": 12, "eval_every": 0}


def row_of(question: Question) -> dict[str, str]:
    """Give a row whose answer can be judged."""
    return question.to_row() | {"answer": question.solution.removeprefix("The answer is ").rstrip(".")}


def made(job: Job, step: str) -> StepResult:
    assert job.result is not None
    return next(one for one in job.result.steps if one.step == step)


def test_a_student_is_taught_measured_and_reinforced(real_client: Client) -> None:
    rows = real_client.datasets.create([row_of(question) for question in QUESTIONS], name="pipeline").id
    steps = {
        "collect": {"kind": "collect", "dataset": rows, "samples_per_question": 2, "max_tokens": 16, "keep": "best"},
        "distil": {"kind": "distill", "dataset": "$collect.dataset", "target_name": "pupil", **SMALL},
        "measure": {"kind": "evaluate", "model": "$distil.student", "dataset": rows, "samples": 2, "max_tokens": 12},
        "reinforce": {"kind": "rlvr", "student": "$distil.student", "dataset": rows, "target_name": "pupil", **STEP},
    }
    spec = {"kind": "pipeline", "steps": [{"id": name, "spec": step} for name, step in steps.items()]}
    job = real_client.jobs.wait(real_client.train(spec).id)
    assert job.status == "succeeded", job.error
    assert job.result is not None
    assert [one.step for one in job.result.steps] == list(steps)

    taught, reinforced = made(job, "distil").student, made(job, "reinforce").student
    assert (taught, reinforced) == ("pupil@1", "pupil@2")
    dataset = made(job, "collect").dataset
    assert dataset is not None
    collected = real_client.datasets.rows(dataset).data
    assert len(collected) == len(QUESTIONS)  # the better of two explanations of each
    assert {row.metadata["collect"]["teacher"] for row in collected} == {"smollm2-135m@0"}
    evaluation = made(job, "measure").evaluation
    assert evaluation is not None
    assert real_client.evaluations.measured(evaluation).questions == len(QUESTIONS)

    # Both can be called, and a policy that trained on its own tokens had what the engine sampled.
    solved = real_client.solve(question=QUESTIONS[0].question, student="pupil@2", max_tokens=8, include=["tokens"])
    assert (solved.student.version, solved.engine.name) == ("pupil@2", "vllm")
    [solution] = solved.solutions
    assert solution.generated is not None
    assert len(solution.generated.completion_token_ids) == solution.tokens
    child = made(job, "reinforce").job
    metrics = real_client.jobs.metrics(child)
    assert metrics.series["logprob_gap_mean"][0] == pytest.approx(0.0, abs=1e-3)
    assert job.result.cost["generated_tokens"] > 0
