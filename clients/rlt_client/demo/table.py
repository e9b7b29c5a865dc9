"""Compute the demonstration's table and JSON from its rows; run it again on committed rows to check the figures.

Usage: python -m rlt_client.demo.table DIR   (DIR holds demo/rows.jsonl and demo/run.json)
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rlt_core.schemas.base import WireModel
from rlt_core.statistics import PairedDifference, mean, paired_difference

MODELS = ("base", "warm-up", "RL")
BEGIN = "<!-- demo:begin, written by rlt_client.demo.table -->"
END = "<!-- demo:end -->"
JSON_KEYS = {"base": "base", "warm-up": "before", "RL": "after"}


class DemoRow(WireModel):
    """One report question answered by one model."""

    question_id: str
    model: str
    version: str
    reward: float
    r_ss: float
    r_kl: float
    format: float
    uplift: float
    length: int
    closed: bool
    verbatim: bool
    steps_right: bool
    chain_right: bool
    text: str


class DemoRun(WireModel):
    """What the rows do not hold: where, when and how they were made."""

    commit: str
    date: str
    machine: str
    command: str
    engine: str
    wall_s: float
    parts_s: dict[str, float]
    gate: str
    gate_reason: str
    gate_evaluation: str | None
    reward: dict[str, float | str]
    sizes: dict[str, int]
    traffic: dict[str, int | list[str]]


_ROWS: TypeAdapter[list[DemoRow]] = TypeAdapter(list[DemoRow])


def read_rows(path: Path) -> list[DemoRow]:
    """Read one row a line."""
    return _ROWS.validate_python([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])


def summarise(rows: Sequence[DemoRow], *, model: str) -> dict[str, float]:
    """Average each figure of one model over its questions."""
    own = [row for row in rows if row.model == model]
    figures = ("reward", "r_ss", "r_kl", "uplift", "length", "closed", "verbatim", "steps_right", "chain_right")
    return {name: round(mean([float(getattr(row, name)) for row in own]), 4) for name in figures}


def difference(rows: Sequence[DemoRow], *, figure: str, before: str, after: str) -> PairedDifference:
    """Compare two models on the same questions."""
    first = {row.question_id: float(getattr(row, figure)) for row in rows if row.model == before}
    second = {row.question_id: float(getattr(row, figure)) for row in rows if row.model == after}
    keys = sorted(first)
    if keys != sorted(second):
        raise ValueError(f"{before} and {after} did not answer the same questions")
    return paired_difference(before=[first[key] for key in keys], after=[second[key] for key in keys])


def to_json(rows: Sequence[DemoRow], run: DemoRun) -> dict[str, Any]:
    """Assemble docs/results/demo.json."""
    reward, solution = (difference(rows, figure=name, before="warm-up", after="RL") for name in ("reward", "r_ss"))
    return {
        "commit": run.commit,
        "date": run.date,
        "machine": run.machine,
        "command": run.command,
        "engine": run.engine,
        "wall_s": round(run.wall_s, 1),
        "n": reward.n,
        **{JSON_KEYS[model]: summarise(rows, model=model) for model in MODELS},
        "difference": _interval(reward),
        "difference_r_ss": _interval(solution),
        "gate": run.gate,
        "gate_reason": run.gate_reason,
        "parts_s": {part: round(seconds, 1) for part, seconds in run.parts_s.items()},
        "reward": run.reward,
        "sizes": run.sizes,
        "traffic": run.traffic,
    }


def to_markdown(figures: dict[str, Any]) -> str:
    """Write the table as it stands in docs/results.md."""
    heads = ("reward", "r_ss", "r_kl", "uplift", "length", "closed", "verbatim", "steps_right", "chain_right")
    lines = ["| model | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for model in MODELS:
        values = figures[JSON_KEYS[model]]
        lines.append(f"| {model} | " + " | ".join(_cell(head, values[head]) for head in heads) + " |")
    gain, solution = figures["difference"], figures["difference_r_ss"]
    parts = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in figures["parts_s"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"n = {figures['n']} held-out questions. RL minus warm-up, paired 95% interval: reward "
            f"{gain['mean']:+.3f} [{gain['ci_low']:+.3f}, {gain['ci_high']:+.3f}], "
            f"r_SS {solution['mean']:+.3f} [{solution['ci_low']:+.3f}, {solution['ci_high']:+.3f}].",
            f"Gate: **{figures['gate']}** ({figures['gate_reason']}).",
            f"Time: {figures['wall_s']:.0f} s in all ({parts}).",
            f"Commit {figures['commit']}, {figures['date']}, {figures['machine']}, engine {figures['engine']}; "
            f"`{figures['command']}`.",
        ]
    )


def _cell(head: str, value: float) -> str:
    if head in ("closed", "verbatim", "steps_right", "chain_right"):
        return f"{100 * value:.0f}%"
    return f"{value:.1f}" if head == "length" else f"{value:.3f}"


def _interval(found: PairedDifference) -> dict[str, float]:
    return {"mean": round(found.mean, 4), "ci_low": round(found.ci_low, 4), "ci_high": round(found.ci_high, 4)}


def write_figures(folder: Path) -> dict[str, Any]:
    """Compute `demo.json` and `demo/table.md` from `demo/rows.jsonl` and `demo/run.json`.

    A page beside the folder that has the two markers (docs/results.md has) gets the table between them.
    """
    rows = read_rows(folder / "demo" / "rows.jsonl")
    run = DemoRun.model_validate_json((folder / "demo" / "run.json").read_text(encoding="utf-8"))
    figures = to_json(rows, run)
    (folder / "demo.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    table = to_markdown(figures)
    (folder / "demo" / "table.md").write_text(table + "\n", encoding="utf-8")
    page = folder.parent / "results.md"
    if page.is_file():
        page.write_text(place_table(page.read_text(encoding="utf-8"), table=table), encoding="utf-8")
    return figures


def place_table(page: str, *, table: str) -> str:
    """Put the table between the page's markers; a page without them stays as it is."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    return f"{head}{begin}\n{table}\n{end}{tail}" if begin and end else page


if __name__ == "__main__":
    sys.stdout.write(to_markdown(write_figures(Path(sys.argv[1]))) + "\n")
