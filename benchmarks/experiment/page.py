"""Write the experiment's part of docs/results.md, and its pictures, from what lies in docs/results/rl; else say so."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiment import pilot
from benchmarks.experiment.arms import MAIN, Plan
from benchmarks.experiment.curves import chart
from benchmarks.experiment.figures import figures_of, issue_figures, read_rows, table_of

BEGIN = "<!-- rl:begin, written by benchmarks.experiment figures -->"
END = "<!-- rl:end -->"
NOT_RUN = "*Not run yet*: `make experiment-rl` ([the protocol](decisions/0022-experiment.md))."
EXPLAINED = 10
"""Report questions whose explanations are shown in full: the first ones of the draw, whatever they say."""
DRAWN = ("reward", "r_ss", "r_kl", "length", "closed", "verbatim")
"""Curves of the training steps."""


def write_page(folder: Path) -> None:
    """Compute rl.json, figures.json, pictures and the page's part from the rows in `folder`, docs/results/rl."""
    run, rows = run_of(folder), read_rows(folder)
    if run is not None and rows:
        figures = figures_of(rows, run=run)
        write_json(folder / "figures.json", figures)
        whole = issue_figures(figures)
        if whole is not None:
            write_json(folder.parent / "rl.json", whole)
        for name, picture in pictures(figures, training=training_of(folder)).items():
            (folder / name).write_text(picture, encoding="utf-8")
    page = folder.parent.parent / "results.md"
    if page.is_file():
        page.write_text(placed(page.read_text(encoding="utf-8"), part=part_of(folder)), encoding="utf-8")


def placed(page: str, *, part: str, begin: str = BEGIN, end: str = END) -> str:
    """Put the part between the page's markers; ValueError where the page has none."""
    head, found, rest = page.partition(begin)
    _, ended, tail = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"the page has no {begin} … {end}")
    return f"{head}{begin}\n{part}\n{end}{tail}"


def part_of(folder: Path) -> str:
    """Write what the rows in `folder` tell; what is missing is said to be not run yet."""
    return "\n\n".join([_pilot_part(folder / "pilot"), _main_part(folder)])


def _pilot_part(folder: Path) -> str:
    found = pilot.read_rows(folder) if folder.is_dir() else {}
    if not found:
        return f"**Pilot.** {NOT_RUN}"
    figures = pilot.figures_of(found)
    questions = {task["questions"] for task in figures["tasks"].values()}
    return f"**Pilot**, log-probs a solution token, {max(questions)} held-out questions a task.\n\n" + pilot.table_of(
        figures
    )


def _main_part(folder: Path) -> str:
    run, rows = run_of(folder), read_rows(folder)
    if run is None or not rows:
        return f"**Arms.** {NOT_RUN}"
    figures = figures_of(rows, run=run)
    parts = [f"**Arms**, task {figures['task']}, {figures['questions']} report questions, one sample each."]
    missing = missing_of(folder, names=Plan(**run["plan"]).row_files())
    if missing:
        parts.append(f"*Not run yet*: {', '.join(missing)}.")
    parts += [table_of(figures), _intervals(figures)]
    drawn = pictures(figures, training=training_of(folder))
    parts += [f"![{name.removesuffix('.svg')}](results/rl/{name})" for name in drawn]
    parts.append(_explanations(rows))
    where = f"Commit {run['commit']}, {run['date']}, {run['machine']}; `{figures['command']}`."
    return "\n\n".join([part for part in parts if part] + [where])


def missing_of(folder: Path, *, names: Sequence[str]) -> list[str]:
    """Name the files of rows, without endings, that a plan has and the folder has not."""
    return [name for name in names if not (folder / f"{name}.jsonl").exists()]


def _intervals(figures: Mapping[str, Any]) -> str:
    named: dict[str, Any] = {
        "reward": figures["difference"],
        "r_SS": figures["difference_r_ss"],
        "uplift": figures["difference_uplift"],
        "steps right": figures["difference_steps_right"],
    }
    lines = [f"{name} {interval(found)}" for name, found in named.items() if found is not None]
    if not lines:
        return ""
    seeds = [
        f"seed {seed}: reward {interval(found['reward'])}, r_SS {interval(found['r_ss'])}"
        for seed, found in figures["by_seed"].items()
    ]
    said = "RL less warm-up, paired 95% intervals over questions, seeds averaged: " + ", ".join(lines) + "."
    return "\n\n".join([said, "By seed: " + "; ".join(seeds) + "."])


def interval(found: Mapping[str, float]) -> str:
    """Write a difference with its interval."""
    return f"{found['mean']:+.3f} [{found['ci_low']:+.3f}, {found['ci_high']:+.3f}]"


def _explanations(rows: Sequence[Mapping[str, Any]]) -> str:
    """Show the first ten report questions before and after, in full; before is the warm-up, after is seed 0."""
    before = [row for row in rows if row["arm"] == "warm-up"][:EXPLAINED]
    after = {row["question_id"]: row for row in rows if row["arm"] == MAIN and row["seed"] == 0}
    if not before or not after:
        return ""
    shown = ["The first ten report questions, warm-up and RL (seed 0), in full:"]
    for number, row in enumerate(before, start=1):
        became = after[row["question_id"]]
        shown.append(f"{number}. {quoted(row['question'])} Solution: {quoted(row['solution'])}")
        shown += [f"   - {name}: {_judged(one)}" for name, one in (("warm-up", row), ("RL", became))]
    return "\n".join(shown)


def _judged(row: Mapping[str, Any]) -> str:
    right = "steps right" if row["steps_right"] else "steps not right"
    return f"{quoted(row['text'])} (r_SS {row['r_ss']:.3f}, {right})"


def quoted(text: str) -> str:
    """Show a text exactly, on one line, whatever is in it."""
    found = json.dumps(text, ensure_ascii=False)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", found)), default=0))
    return f"{fence}{found}{fence}" if len(fence) == 1 else f"{fence} {found} {fence}"


def pictures(figures: Mapping[str, Any], *, training: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Draw the main arm's curves, a line a seed, and what the KL weight does; file names to SVG."""
    found: dict[str, str] = {}
    for measure in DRAWN:
        lines = {
            f"seed {one['seed']}": points_of(one, measure)
            for one in training
            if one["arm"] == MAIN and points_of(one, measure)
        }
        if lines:
            found[f"curve-{measure}.svg"] = chart(f"{measure}, training questions", lines, across="step")
    swept = _swept(figures)
    if len(swept) > 1:
        marks = [f"{weight:g}" for weight in swept]
        for measure in ("r_ss", "steps_right"):
            line = [(float(place), float(one[measure])) for place, one in enumerate(swept.values())]
            found[f"kl-{measure}.svg"] = chart(
                f"{measure} on report questions, one seed", {measure: line}, across="weight of the mean KL", marks=marks
            )
    return found


def points_of(one: Mapping[str, Any], measure: str) -> list[tuple[float, float]]:
    """Give a measure of a training by step, without the steps that have none."""
    values: Sequence[float | None] = one["series"].get(measure, ())
    return [(float(step), value) for step, value in zip(one["steps"], values, strict=False) if value is not None]


def _swept(figures: Mapping[str, Any]) -> dict[float, Mapping[str, Any]]:
    """Give the ablations' means by KL weight, least first."""
    found: dict[float, Mapping[str, Any]] = {
        float(name.removeprefix("kl-")): one for name, one in figures["ablations"].items() if name.startswith("kl-")
    }
    return dict(sorted(found.items()))


def training_of(folder: Path) -> list[dict[str, Any]]:
    """Read what was kept of each training."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "training").glob("*.json"))]


def run_of(folder: Path) -> dict[str, Any] | None:
    """Read where the rows come from; None where nothing was run."""
    path = folder / "run.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_json(path: Path, found: Mapping[str, Any]) -> None:
    """Write figures as JSON."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
