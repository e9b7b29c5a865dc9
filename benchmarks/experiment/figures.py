"""Compute the figures of the experiment from its rows, and their table. Pure, but for reading the rows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiment.arms import MAIN
from rlt_core.statistics import mean, paired_difference

SHARES = ("closed", "verbatim", "steps_right", "ends_at_answer", "chain_right")
MEASURES = ("reward", "r_ss", "r_kl", "uplift", "length", *SHARES)
PUBLISHED = ("reward", "r_ss", "r_kl", "uplift", "length", "closed", "verbatim")
"""Measures of an arm in docs/results/rl.json."""
Rows = Sequence[Mapping[str, Any]]


def figures_of(rows: Rows, *, run: Mapping[str, Any]) -> dict[str, Any]:
    """Give means by arm, and RL less warm-up, paired by question over the mean of the seeds; None where rows miss."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    controls = [arm for arm in arms if all(row["version"] is None for row in _of(rows, arm))]
    trained = [arm for arm in arms if arm not in (*controls, "base", "warm-up", MAIN)]
    warm, main = _of(rows, "warm-up"), _of(rows, MAIN)
    return {
        "task": run["plan"]["task"],
        "seeds": sorted({row["seed"] for row in main}),
        "questions": len({row["question_id"] for row in rows}),
        **{name: means(_of(rows, arm)) for name, arm in (("base", "base"), ("warmup", "warm-up"), ("rl", MAIN))},
        "difference": difference(warm, main, measure="reward"),
        "difference_r_ss": difference(warm, main, measure="r_ss"),
        "difference_uplift": difference(warm, main, measure="uplift"),
        "difference_steps_right": difference(warm, main, measure="steps_right"),
        "by_seed": {
            str(seed): {
                measure: difference(warm, [row for row in main if row["seed"] == seed], measure=measure)
                for measure in ("reward", "r_ss")
            }
            for seed in sorted({row["seed"] for row in main})
        },
        "controls": ({"none": _without_explanation(warm)} if warm else {})
        | {arm: means(_of(rows, arm)) for arm in controls},
        "ablations": {arm: _ablation(warm, _of(rows, arm)) for arm in trained},
        **{name: run[name] for name in ("commit", "date", "machine")},
        "command": "make experiment-rl",
    }


def issue_figures(figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give docs/results/rl.json; None where base, warm-up or RL were not measured yet."""
    if figures["difference"] is None or figures["base"]["reward"] is None:
        return None
    return {
        "task": figures["task"],
        "seeds": figures["seeds"],
        "questions": figures["questions"],
        **{name: {key: figures[name][key] for key in PUBLISHED} for name in ("base", "warmup", "rl")},
        **{
            name: figures[name]
            for name in (
                "difference",
                "difference_r_ss",
                "controls",
                "ablations",
                "commit",
                "date",
                "machine",
                "command",
            )
        },
    }


def means(rows: Rows) -> dict[str, float | None]:
    """Average each measure over an arm's rows, of all seeds; None where some row has none."""
    found: dict[str, float | None] = {}
    for measure in MEASURES:
        values = [row[measure] for row in rows]
        found[measure] = (
            None if not values or any(value is None for value in values) else mean([float(v) for v in values])
        )
    return found


def difference(before: Rows, after: Rows, *, measure: str) -> dict[str, float] | None:
    """Compare two arms question by question, seeds averaged first; 95% bootstrap over questions."""
    was, became = by_question(before, measure), by_question(after, measure)
    if len(was) < 2 or not became:
        return None
    if set(was) != set(became):
        raise ValueError("two arms did not answer the same questions")
    found = paired_difference(before=[was[q] for q in was], after=[became[q] for q in was])
    return {"mean": found.mean, "ci_low": found.ci_low, "ci_high": found.ci_high}


def _ablation(warm: Rows, rows: Rows) -> dict[str, Any]:
    compared = {f"difference_{name}": difference(warm, rows, measure=name) for name in ("r_ss", "steps_right")}
    return {**means(rows), **compared}


def _without_explanation(rows: Rows) -> dict[str, float]:
    """Give r_SS of no explanation at all, by the paper's c = (1, 0.01), which every arm is measured with."""
    return {"r_ss": mean([row["baseline_mean"] + 0.01 * row["baseline_min"] for row in rows]), "uplift": 0.0}


def by_question(rows: Rows, measure: str) -> dict[str, float]:
    """Average a measure over the rows of each question, of all seeds; without the rows that have none."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row[measure] is not None:
            values.setdefault(row["question_id"], []).append(float(row[measure]))
    return {question: mean(found) for question, found in values.items()}


def _of(rows: Rows, arm: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["arm"] == arm]


def table_of(figures: Mapping[str, Any]) -> str:
    """Write the arms as a table."""
    arms = {"base": figures["base"], "warm-up": figures["warmup"], "RL": figures["rl"], **figures["ablations"]}
    lines = ["| arm | " + " | ".join(MEASURES) + " |", "|---" * (len(MEASURES) + 1) + "|"]
    for name, found in (arms | figures["controls"]).items():
        lines.append(f"| {name} | " + " | ".join(_cell(measure, found.get(measure)) for measure in MEASURES) + " |")
    return "\n".join(lines)


def _cell(measure: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.0f}%" if measure in SHARES else f"{value:.3f}"


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the rows of every arm."""
    paths = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
