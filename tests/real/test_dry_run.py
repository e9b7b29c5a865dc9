"""What a dry run says of a job on real vLLM, held against the job."""

from pathlib import Path

import pytest

from rlt_client import Client
from rlt_client.demo.questions import generate_questions

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

QUESTIONS = generate_questions(count=8, seed=5)


def test_a_forecast_counts_tokens_exactly_and_bytes_and_seconds_roughly(real_client: Client, real_home: Path) -> None:
    rows = [{"question": each.question, "solution": each.solution} for each in QUESTIONS]
    dataset = real_client.datasets.create(rows).id
    spec = {
        "kind": "rl",
        "dataset": dataset,
        "target_name": "forecast",
        "steps": 2,
        "questions_per_step": 2,
        "samples_per_question": 4,
        "max_tokens": 24,
        "lora": {"rank": 4},
        "save_every": 1,
    }
    found = real_client.train(spec, dry_run=True)
    assert found.rehearsal is not None
    assert found.rehearsal.not_scored is None
    assert found.rehearsal.engine is not None
    assert found.rehearsal.engine.name == "vllm"
    assert len(found.rehearsal.rows) == 5
    assert found.lengths is not None
    assert found.estimates is not None

    asked = [
        real_client.explain(
            question=row["question"], solution=row["solution"], n=1, max_tokens=1, temperature=0.0, include=["tokens"]
        )
        for row in rows
    ]
    prompts = [len(answer.explanations[0].tokens.prompt_token_ids) for answer in asked if answer.explanations[0].tokens]
    assert found.lengths.mean_tokens == sum(prompts) / len(prompts)
    assert found.lengths.longest_tokens == max(prompts) == found.longest_prompt_tokens

    job = real_client.jobs.wait(real_client.train(spec).id)
    assert job.status == "succeeded", job.error
    assert job.result is not None
    made, rehearsed = found.estimates, job.result.cost
    assert made.generated_tokens.value is not None
    # Five tried rows say about how long sixteen completions are; none is longer than 24.
    assert 0.5 <= made.generated_tokens.value / rehearsed["completion_tokens"] <= 2.0
    took_s = rehearsed["rollout_s"] + rehearsed["score_s"] + rehearsed["train_s"]
    assert made.total_s.value is not None
    # Loose on purpose: another machine, another load; what is ruled out is an estimate of another order.
    assert 0.05 <= made.total_s.value / took_s <= 20.0

    [weights] = real_home.glob("artifacts/versions/forecast/*/adapter_model.safetensors")
    adapter_bytes = 4 * 30 * 4 * 10_176  # float32, layers, rank, both sides of the seven targets of SmolLM2-135M
    assert weights.stat().st_size == pytest.approx(adapter_bytes, rel=0.02)
    checkpoints = sum(
        path.stat().st_size for path in real_home.rglob(f"jobs/{job.id}/attempt-1/checkpoints/**/*") if path.is_file()
    )
    assert made.disk_bytes.value is not None
    assert checkpoints <= made.disk_bytes.value <= 4 * checkpoints
