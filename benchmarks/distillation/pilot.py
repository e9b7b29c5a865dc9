"""Own the pilot: on each candidate task a student learns the worked solutions, on rows of pilots alone."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.distillation.budget import course_of
from benchmarks.distillation.measuring import measured, token_lengths
from benchmarks.distillation.plan import BASE, OWN, Plan
from benchmarks.distillation.questions import asked_of, parts_of, uploaded
from benchmarks.experiment.session import Session
from benchmarks.experiment.tasks import Task
from benchmarks.experiment.warming import base_of
from rlt_core.statistics import mean

ACCURACY_BETWEEN = (0.05, 0.8)
"""Of the student that learnt the worked solutions: neither at the floor nor done."""
CLOSED_AT_LEAST = 0.9
PARTS = (BASE, OWN)


def run_pilot(session: Session, *, plan: Plan, tasks: Mapping[str, Task]) -> None:
    """Distil the worked solutions and measure, on each task whose rows are not all there yet."""
    for name, task in tasks.items():
        if all(session.has(f"{name}-{part}") for part in PARTS):
            continue
        parts, asked, base = parts_of(task, plan=plan), asked_of(task, plan=plan), base_of(session)
        held_out = session.upload(f"pilot-{name} held out", [uploaded(row) for row in parts.pilot_held_out])
        dataset = session.upload(f"pilot-{name}", [uploaded(row) for row in parts.pilot])
        traces = [row.trace for row in parts.pilot]
        lengths = token_lengths(session.client, parts.pilot, thoughts=traces, student=base)
        course = course_of(lengths, budget=plan.pilot_budget_tokens, a_step=plan.step_tokens)
        target = f"pilot-{name}"
        own = plan.arm_spec(name=target, seed=0, dataset=dataset, report=held_out, course=course, asked=asked)
        jobs = {
            BASE: session.job(f"{target}-base", plan.evaluate_spec(model=base, dataset=held_out, asked=asked)),
            OWN: session.job(target, own),
        }
        for part, job in jobs.items():
            result = job.result
            version = base if part == BASE else result and result.student
            if result is None or result.evaluation is None or not version:
                raise RuntimeError(f"{job.id} made no student or no evaluation")
            rows = partial(
                measured,
                session.client,
                parts.pilot_held_out,
                evaluation=result.evaluation,
                version=version,
                arm=part,
                seed=0,
            )
            session.rows(f"{name}-{part}", rows)


def read_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the pilot's rows by task; a task without all of its files is left out."""
    names = sorted(path.name.removesuffix(f"-{OWN}.jsonl") for path in folder.glob(f"*-{OWN}.jsonl"))
    files = {name: [folder / f"{name}-{part}.jsonl" for part in PARTS] for name in names}
    return {
        name: [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
        for name, paths in files.items()
        if all(path.exists() for path in paths)
    }


def figures_of(rows_by_task: Mapping[str, Sequence[Mapping[str, Any]]], *, teachers_task: str | None) -> dict[str, Any]:
    """Give each task's figures, why it may not be taken, and the choice.

    The task of `make experiment-rl` is chosen where it may be taken; else the one whose accuracy is nearest to a half.
    """
    tasks = {name: _figures(rows) for name, rows in rows_by_task.items()}
    eligible = [name for name, found in tasks.items() if not found["refused"]]
    nearest = min(eligible, key=lambda name: abs(tasks[name]["accuracy"] - 0.5), default=None)
    choice = teachers_task if teachers_task in eligible else nearest
    return {"choice": choice, "teachers_task": teachers_task, "tasks": tasks}


def table_of(figures: Mapping[str, Any]) -> str:
    """Write the pilot as a table."""
    lines = ["| task | base right | own right | own closed | own log-prob | taken |", "|---|---|---|---|---|---|"]
    for name, found in figures["tasks"].items():
        says = "**chosen**" if name == figures["choice"] else ", ".join(found["refused"]) or "eligible"
        shares = " | ".join(f"{100 * found[key]:.0f}%" for key in ("base_accuracy", "accuracy", "closed"))
        lines.append(f"| {name} | {shares} | {found['solution_logprob']:.3f} | {says} |")
    return "\n".join(lines)


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    base, own = ([row for row in rows if row["arm"] == part] for part in PARTS)
    found: dict[str, Any] = {
        "questions": len(own),
        "base_accuracy": mean([row["accuracy"] for row in base]),
        **{key: mean([row[key] for row in own]) for key in ("accuracy", "closed", "solution_logprob")},
    }
    lowest, highest = ACCURACY_BETWEEN
    reasons = {
        "not closed": found["closed"] < CLOSED_AT_LEAST,
        "never right": found["accuracy"] < lowest,
        "right already": found["accuracy"] > highest,
    }
    return found | {"refused": [reason for reason, holds in reasons.items() if holds]}
