"""Compute the figures of the experiment from its rows alone. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.distillation.plan import ANSWERS, BASE, OWN
from benchmarks.experiment.figures import by_question, difference
from rlt_core.statistics import mean_interval

Rows = Sequence[Mapping[str, Any]]
PUBLISHED = (BASE, ANSWERS, "untrained", "warmup", "rl", OWN)
PRIMARY = ("solution_logprob", "accuracy")
MEASURES = (*PRIMARY, "without_thought", "closed", "tokens", "steps_right", "ends_at_answer")
COMPARED_WITH = ("untrained", "warmup", OWN, ANSWERS, BASE)
"""What the students of the reinforced teacher are held against; by the paper they beat the first three."""


def figures_of(rows: Rows, *, run: Mapping[str, Any], training: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give each arm's means with intervals over questions, seeds averaged first, and what `rl` differs by, in pairs."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    of = {arm: [row for row in rows if row["arm"] == arm] for arm in arms}
    students = {arm: found for arm, found in of.items() if not arm.startswith("rlvr-")}
    reinforced = {arm.removeprefix("rlvr-"): found for arm, found in of.items() if arm.startswith("rlvr-")}
    return {
        "task": run["plan"]["task"],
        "seeds": sorted({row["seed"] for arm in students if arm != BASE for row in of[arm]}),
        "questions": len({row["question_id"] for row in rows}),
        "arms": {arm: _of_arm(found, arm=arm, training=training) for arm, found in students.items()},
        "differences": {
            other: {measure: difference(of[other], of["rl"], measure=measure) for measure in PRIMARY}
            | {"questions": better_worse(of[other], of["rl"])}
            for other in COMPARED_WITH
            if other in of and "rl" in of
        },
        "rlvr": {start: _of_rlvr(found, start=start, training=training) for start, found in reinforced.items()},
        "rlvr_differences": {
            other: difference(reinforced[other], reinforced["rl"], measure="accuracy")
            for other in (BASE, OWN)
            if other in reinforced and "rl" in reinforced
        },
        **{name: run[name] for name in ("commit", "date", "machine")},
        "command": "make experiment-distill",
    }


def issue_figures(figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give docs/results/distil.json; None where some arm was not measured yet."""
    if any(arm not in figures["arms"] for arm in PUBLISHED):
        return None
    shown: dict[str, Any] = {}
    for arm in PUBLISHED:
        found = figures["arms"][arm]
        accuracy = found["accuracy"]
        shown[arm] = {
            "accuracy": accuracy["mean"],
            "ci_low": accuracy["ci_low"],
            "ci_high": accuracy["ci_high"],
            "solution_logprob": found["solution_logprob"]["mean"],
        }
    named = {name: figures[name] for name in ("task", "seeds", "questions")}
    whence = {name: figures[name] for name in ("commit", "date", "machine", "command")}
    return named | {"arms": shown, "rlvr": figures["rlvr"]} | whence


def better_worse(before: Rows, after: Rows) -> dict[str, int]:
    """Count the questions that are answered rightly more often, as often, and less often."""
    was, became = by_question(before, "accuracy"), by_question(after, "accuracy")
    changes = [became[question] - was[question] for question in was if question in became]
    better, worse = sum(one > 1e-9 for one in changes), sum(one < -1e-9 for one in changes)
    return {"better": better, "same": len(changes) - better - worse, "worse": worse}


def _of_arm(rows: Rows, *, arm: str, training: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    told = [one for one in training if one["arm"] == arm and "course" in one]
    return {
        **{measure: _interval_of(rows, measure) for measure in MEASURES},
        "by_seed": {str(seed): _of_seed(rows, seed) for seed in sorted({row["seed"] for row in rows})},
        "trained_tokens": [one["cost"].get("trained_tokens") for one in told],
        "steps": [one["course"]["steps"] for one in told],
    }


def _of_seed(rows: Rows, seed: int) -> dict[str, float]:
    own = [row for row in rows if row["seed"] == seed]
    return {measure: _interval_of(own, measure)["mean"] or 0.0 for measure in PRIMARY}


def _of_rlvr(rows: Rows, *, start: str, training: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = {"accuracy": _interval_of(rows, "accuracy"), "curve": curve_of(start, training=training)}
    return found | {"seeds": sorted({row["seed"] for row in rows})}


def curve_of(start: str, *, training: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Give [step, accuracy on the curve's questions], from step 0 on, where it was measured."""
    for one in training:
        if one["arm"] == f"rlvr-{start}":
            values: Sequence[float | None] = one["series"].get("select_accuracy", ())
            pairs = zip(one["steps"], values, strict=False)
            later = [[float(step), value] for step, value in pairs if value is not None]
            return [[0.0, float(one["accuracy_before"])], *later]
    return []


def _interval_of(rows: Rows, measure: str) -> dict[str, float | None]:
    found = mean_interval(list(by_question(rows, measure).values()))
    return {"mean": found.mean, "ci_low": found.ci_low, "ci_high": found.ci_high}
