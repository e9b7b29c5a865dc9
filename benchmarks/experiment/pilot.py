"""Own the pilot: each candidate task, warmed up and measured on rows that are used for nothing else; it chooses one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from benchmarks.experiment.arms import Plan, kl
from benchmarks.experiment.measuring import CONTROLS, Measurement
from benchmarks.experiment.session import Session
from benchmarks.experiment.tasks import Task, divided
from benchmarks.experiment.warming import base_of, warmed_up
from rlt_core.schemas.score import RewardConfig
from rlt_core.statistics import mean

CLOSED_AT_LEAST = 0.9
"""Share of the warmed-up teacher's explanations that are closed."""
ROOM_AT_LEAST = 0.5
"""Nats a solution token that the worked steps are above the warmed-up teacher's, and above no explanation at all."""
RIGHT_BETWEEN = (0.05, 0.9)
"""Share of the warmed-up teacher's explanations whose steps are right: neither hopeless nor done."""

PARTS = ("base", "warm-up", *(name.replace(" ", "-") for name in CONTROLS))
"""Files of rows that a task has once it was tried."""


def run_pilot(session: Session, *, plan: Plan, tasks: Mapping[str, Task]) -> None:
    """Warm up and measure on each task whose rows are not all there yet."""
    for name, task in tasks.items():
        files = [session.out / f"{name}-{part}.jsonl" for part in PARTS]
        if all(file.exists() for file in files):
            continue
        if not session.knows(f"pilot-{name}-warm-student"):
            # The student that scored what is there is gone with its state: another's rows do not belong beside them.
            for file in files:
                file.unlink(missing_ok=True)
        parts = divided(task, sizes=plan.sizes(), seed=plan.data_seed)
        dataset = session.upload(f"pilot-{name}", [row.uploaded() for row in parts["pilot"]])
        models = warmed_up(session, plan.for_pilot(), dataset=dataset, prefix=f"pilot-{name}-")
        measurement = Measurement(
            session.client,
            rows=parts["pilot_held_out"],
            student=models.student,
            reward=RewardConfig.model_validate(kl(plan.kl_mean)),
            temperature=plan.temperature,
            max_tokens=task.max_tokens,
        )
        versions = {"base": base_of(session), "warm-up": models.teacher}
        measurement.write(session, versions=versions, controls=CONTROLS, prefix=f"{name}-")


def figures_of(rows_by_task: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Give each task's figures, why it may not be taken, and the choice: the most room over its spread."""
    tasks = {name: _figures(rows) for name, rows in rows_by_task.items()}
    eligible = [name for name, found in tasks.items() if not found["refused"]]
    choice = max(eligible, key=lambda name: tasks[name]["room_over_spread"], default=None)
    return {"choice": choice, "tasks": tasks}


def read_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the pilot's rows by task; a task without all of its files is left out."""
    names = sorted(path.name.removesuffix("-warm-up.jsonl") for path in folder.glob("*-warm-up.jsonl"))
    files = {name: [folder / f"{name}-{part}.jsonl" for part in PARTS] for name in names}
    return {
        name: [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
        for name, paths in files.items()
        if all(path.exists() for path in paths)
    }


def table_of(figures: Mapping[str, Any]) -> str:
    """Write the pilot as a table."""
    lines = [
        "| task | none | bare solution | worked solution | base teacher | warmed-up | room / spread | closed "
        "| steps right | taken |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in figures["tasks"].items():
        says = "**chosen**" if name == figures["choice"] else ", ".join(found["refused"]) or "eligible"
        means = " | ".join(f"{found[part]:.3f}" for part in ("none", *CONTROLS, "base", "warm-up"))
        lines.append(
            f"| {name} | {means} | {found['room_over_spread']:.2f} | {100 * found['closed']:.0f}% "
            f"| {100 * found['steps_right']:.0f}% | {says} |"
        )
    return "\n".join(lines)


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    by_arm: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_arm.setdefault(row["arm"], []).append(row)
    solution = {arm: [float(row["solution_mean"]) for row in found] for arm, found in by_arm.items()}
    warm = by_arm["warm-up"]
    found: dict[str, Any] = {
        "questions": len(warm),
        "none": mean([float(row["baseline_mean"]) for row in warm]),
        **{arm: mean(values) for arm, values in solution.items()},
        "spread": stdev(solution["warm-up"]),
        "closed": mean([float(row["closed"]) for row in warm]),
        "steps_right": mean([float(row["steps_right"]) for row in warm]),
    }
    room = found["worked solution"] - found["warm-up"]
    return found | {"room": room, "room_over_spread": room / found["spread"], "refused": _refused(found, room=room)}


def _refused(found: Mapping[str, float], *, room: float) -> list[str]:
    lowest, highest = RIGHT_BETWEEN
    reasons = {
        "not closed": found["closed"] < CLOSED_AT_LEAST,
        "no room": room < ROOM_AT_LEAST,
        "worked steps do not help": found["worked solution"] - found["none"] < ROOM_AT_LEAST,
        "steps never right": found["steps_right"] < lowest,
        "steps right already": found["steps_right"] > highest,
    }
    return [reason for reason, holds in reasons.items() if holds]
