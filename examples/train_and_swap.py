"""Warm a teacher up, reinforce it, let the gate decide whether it serves, and roll back. Needs a server: `rlt up`.

Run it with `python examples/train_and_swap.py`. It trains for real: its first lines estimate for how long.
"""

from typing import Any

from rlt_client import Client
from rlt_core.schemas.jobs import Job, JobEvent

ALIAS = "shop"
QUESTION = "Carla has 13 coins. Carla sells 9 coins. How many coins does Carla have now?"
ROWS = [
    {
        "question": f"Carla has {coins} coins. Carla sells {sold} coins. How many coins does Carla have now?",
        "solution": f"The answer is {coins - sold}.",
        "reasoning_trace": f"{coins} - {sold} = {coins - sold}. So Carla has {coins - sold} coins now.",
    }
    for coins in range(12, 20)
    for sold in range(2, 9)
]


def say(event: JobEvent) -> None:
    """Print one line for each step."""
    if event.type == "progress":
        print(f"  step {event.data['step']} of {event.data['total']}  {event.data.get('metrics', {})}")


def trained(client: Client, spec: dict[str, Any]) -> Job:
    """Look before it starts, hand a job in, and follow it to its end."""
    forecast = client.train(spec, dry_run=True)  # starts nothing: a wrong spec is refused here
    seconds = forecast.estimates.total_s.value if forecast.estimates is not None else None
    print(f"{spec['kind']}: {forecast.train_rows} rows, about {seconds} s", *forecast.warnings, sep="\n  ")
    job = client.jobs.wait(client.train(spec).id, on_event=say)
    if job.status != "succeeded":
        raise SystemExit(f"{job.id} {job.status}: {job.error}")
    return job


def main() -> None:
    """Train twice; `rl` moves the alias only where held-out questions say that the new version is better."""
    with Client() as client:
        dataset = client.datasets.create(ROWS, name="coins").id
        common: dict[str, Any] = {"dataset": dataset, "target_name": "coins", "splits": {"gate": 0.2}}
        warmup = {"kind": "warmup", "role": "teacher", "epochs": 100, "max_steps": 14, **common}
        warm = trained(client, warmup).result
        assert warm is not None
        assert warm.teacher is not None

        # Say what you believe the alias points at (None: it is new); a wrong belief is refused, not overwritten.
        now = {alias.alias: alias.version for alias in client.aliases.list().data if alias.role == "teacher"}
        client.aliases.put("teacher", ALIAS, version=warm.teacher, expected=now.get(ALIAS))

        rl = {"kind": "rl", "teacher": ALIAS, "steps": 4, "promote": {"alias": ALIAS, "when": "if_better"}, **common}
        result = trained(client, rl).result
        assert result is not None
        assert result.promotion is not None
        print(f"the gate: {result.promotion.outcome} ({result.promotion.reason})")

        answer = client.explain(question=QUESTION, solution="The answer is 4.", teacher=ALIAS, max_tokens=48)
        print(f"{answer.teacher.version} says: {answer.explanations[0].text}")
        if result.promotion.outcome == "promoted" and result.teacher is not None:
            back = client.aliases.rollback("teacher", ALIAS, expected=result.teacher)
            print(f"rolled back: {ALIAS} is {back.version} again")


if __name__ == "__main__":
    main()
