"""Compute the figures of the experiment from its rows: `python -m benchmarks.experiment.figures DIR`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiment.arms import MAIN
from rlt_core.statistics import mean, paired_difference

SHARES = ("closed", "verbatim", "steps_right", "chain_right")
MEASURES = ("reward", "r_ss", "r_kl", "uplift", "length", *SHARES)
Rows = Sequence[Mapping[str, Any]]


def figures_of(rows: Rows, *, run: Mapping[str, Any]) -> dict[str, Any]:
    """Give docs/results/rl.json: means by arm, and RL less warm-up, paired by question over the mean of the seeds."""
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
        "difference_steps_right": difference(warm, main, measure="steps_right"),
        "by_seed": {
            str(seed): {
                measure: difference(warm, [row for row in main if row["seed"] == seed], measure=measure)
                for measure in ("reward", "r_ss")
            }
            for seed in sorted({row["seed"] for row in main})
        },
        "controls": {"none": {"r_ss": None, "baseline": mean([row["baseline"] for row in warm])}}
        | {arm: means(_of(rows, arm)) for arm in controls},
        "ablations": {arm: means(_of(rows, arm)) for arm in trained},
        **{name: run[name] for name in ("commit", "date", "machine")},
        "command": "make experiment-rl",
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
    was, became = _by_question(before, measure), _by_question(after, measure)
    shared = [question for question in was if question in became]
    if len(shared) < 2:
        return None
    found = paired_difference(before=[was[q] for q in shared], after=[became[q] for q in shared])
    return {"mean": found.mean, "ci_low": found.ci_low, "ci_high": found.ci_high, "questions": float(len(shared))}


def _by_question(rows: Rows, measure: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in rows:
        if row[measure] is not None:
            values.setdefault(row["question_id"], []).append(float(row[measure]))
    return {question: mean(found) for question, found in values.items()}


def _of(rows: Rows, arm: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["arm"] == arm]


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the rows of every arm; curves are no rows."""
    paths = [path for path in sorted(folder.glob("*.jsonl")) if not path.name.startswith("curve-")]
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Write the JSON file beside the folder of rows."""
    folder = Path(sys.argv[1])
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    figures = figures_of(read_rows(folder), run=run)
    (folder.parent / "rl.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
