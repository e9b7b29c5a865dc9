"""A teacher explains, a student learns from it, and both students are measured: three jobs as one pipeline.

Needs `rlt up`, or RLT_BASE_URL of another server. Run it with `python examples/collect_distil_evaluate.py`.
"""

from typing import Any

from rlt_client import Client
from rlt_core.schemas.jobs import JobEvent

ROWS = [
    {
        "question": f"What is {left} + {right}?",
        "solution": f"The answer is {left + right}.",
        "answer": str(left + right),  # what `evaluate` compares a student's answer with
    }
    for left in range(2, 6)
    for right in range(2, 6)
]


def pipeline(dataset: str) -> dict[str, Any]:
    """Write the spec; `$collect.dataset` is what the step `collect` will have made."""
    collect = {"kind": "collect", "teacher": "default", "samples_per_question": 2, "keep": "best", "max_tokens": 64}
    distil = {"kind": "distill", "dataset": "$collect.dataset", "target_name": "adder", "max_steps": 10}
    measure = {"kind": "evaluate", "models": ["default", "$distil.student"], "samples": 2, "max_tokens": 64}
    # An example: the same rows teach and measure. For a figure that means something, measure on others.
    steps = {"collect": collect | {"dataset": dataset}, "distil": distil, "measure": measure | {"dataset": dataset}}
    return {"kind": "pipeline", "steps": [{"id": name, "spec": spec} for name, spec in steps.items()]}


def say(event: JobEvent) -> None:
    """Print when a step begins and ends."""
    if event.type in ("step_begun", "step_ended"):
        print(f"  {event.type}: {event.data.get('step')}")


def main() -> None:
    """Hand the pipeline in, follow it, and lay the two students side by side."""
    with Client() as client:
        dataset = client.datasets.create(ROWS, name="sums").id
        job = client.jobs.wait(client.train(pipeline(dataset)).id, on_event=say)
        if job.status != "succeeded" or job.result is None:
            raise SystemExit(f"{job.id} {job.status}: {job.error}")
        print(f"the new student is {job.result.student}, taught by the rows of {job.result.dataset}")

        measured = next(client.jobs.get(step.job) for step in job.result.steps if step.step == "measure")
        assert measured.result is not None
        comparison = client.evaluations.compare(measured.result.evaluations)
        for name, difference in comparison.pairs[0].differences.items():
            print(f"  {name}: {difference.mean:+.3f}  95% [{difference.ci_low:+.3f}, {difference.ci_high:+.3f}]")


if __name__ == "__main__":
    main()
