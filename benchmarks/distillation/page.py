"""Write the experiment's part of docs/results.md, pictures and distil.json from docs/results/distil; else say so."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.distillation import pilot
from benchmarks.distillation.figures import PRIMARY, figures_of, issue_figures
from benchmarks.distillation.plan import Plan
from benchmarks.experiment.curves import chart
from benchmarks.experiment.figures import read_rows
from benchmarks.experiment.page import interval, missing_of, placed, points_of, quoted, run_of, training_of, write_json

BEGIN = "<!-- distil:begin, written by benchmarks.distillation figures -->"
END = "<!-- distil:end -->"
NOT_RUN = "*Not run yet*: `make experiment-distill` ([the protocol](decisions/0028-experiment-distill.md))."
SHOWN = 5
"""Report questions whose thoughts are shown in full: the first ones of the draw."""


def write_page(folder: Path) -> None:
    """Compute JSON, pictures and the page's part from the rows in `folder`, docs/results/distil."""
    figures = _figures(folder)
    if figures is not None:
        write_json(folder / "figures.json", figures)
        whole = issue_figures(figures)
        if whole is not None:
            write_json(folder.parent / "distil.json", whole)
        for name, picture in pictures(figures, training=training_of(folder)).items():
            (folder / name).write_text(picture, encoding="utf-8")
    page = folder.parent.parent / "results.md"
    if page.is_file():
        text = placed(page.read_text(encoding="utf-8"), part=part_of(folder), begin=BEGIN, end=END)
        page.write_text(text, encoding="utf-8")


def part_of(folder: Path) -> str:
    """Write what the rows in `folder` tell; what is missing is said to be not run yet."""
    return "\n\n".join([_pilot_part(folder / "pilot"), _main_part(folder)])


def pictures(figures: Mapping[str, Any], *, training: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Draw the learning curves of `rlvr`, a line a start; file names to SVG."""
    curves = {start: found["curve"] for start, found in figures["rlvr"].items() if found["curve"]}
    held_out = {start: [(x, y) for x, y in curve] for start, curve in curves.items()}
    reinforced = [one for one in training if one["arm"].startswith("rlvr-")]
    learnt = {one["arm"].removeprefix("rlvr-"): points_of(one, "accuracy") for one in reinforced}
    drawn = {
        "rlvr-curve.svg": ("accuracy, questions used for nothing else, one seed", held_out),
        "rlvr-training.svg": ("accuracy, training questions, one seed", {k: v for k, v in learnt.items() if v}),
    }
    return {name: chart(title, lines, across="step of rlvr") for name, (title, lines) in drawn.items() if lines}


def _figures(folder: Path) -> dict[str, Any] | None:
    run, rows = run_of(folder), read_rows(folder)
    return figures_of(rows, run=run, training=training_of(folder)) if run is not None and rows else None


def _pilot_part(folder: Path) -> str:
    found = pilot.read_rows(folder) if folder.is_dir() else {}
    if not found:
        return f"**Pilot.** {NOT_RUN}"
    chosen = folder / "pilot.json"
    theirs = json.loads(chosen.read_text(encoding="utf-8"))["teachers_task"] if chosen.exists() else None
    figures = pilot.figures_of(found, teachers_task=theirs)
    count = max(task["questions"] for task in figures["tasks"].values())
    return f"**Pilot**, {count} held-out questions a task.\n\n{pilot.table_of(figures)}"


def _main_part(folder: Path) -> str:
    run, figures = run_of(folder), _figures(folder)
    if run is None or figures is None:
        return f"**Arms.** {NOT_RUN}"
    parts = [f"**Arms**, task {figures['task']}, {figures['questions']} report questions, seeds {figures['seeds']}."]
    missing = missing_of(folder, names=Plan.read(run["plan"]).row_files())
    if missing:
        parts.append(f"*Not run yet*: {', '.join(missing)}.")
    parts += [_table(figures), _differences(figures), _rlvr(figures)]
    parts += [f"![{name.removesuffix('.svg')}](results/distil/{name})" for name in _drawn(folder, figures)]
    parts.append(_thoughts(read_rows(folder)))
    parts.append(f"Commit {run['commit']}, {run['date']}, {run['machine']}; `{figures['command']}`.")
    return "\n\n".join(part for part in parts if part)


def _drawn(folder: Path, figures: Mapping[str, Any]) -> list[str]:
    return list(pictures(figures, training=training_of(folder)))


def _table(figures: Mapping[str, Any]) -> str:
    lines = [
        "| arm | log-prob, own thought | right | without a thought | closed | steps right | tokens | trained tokens |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm, found in figures["arms"].items():
        primary = " | ".join(_level(found[measure]) for measure in PRIMARY)
        shares = " | ".join(f"{100 * found[key]['mean']:.0f}%" for key in ("closed", "steps_right"))
        trained = ", ".join(f"{tokens:.0f}" for tokens in found["trained_tokens"] if tokens is not None)
        rest = f"{found['without_thought']['mean']:.3f} | {shares} | {found['tokens']['mean']:.0f} | {trained}"
        lines.append(f"| {arm} | {primary} | {rest} |")
    return "\n".join(lines)


def _level(found: Mapping[str, float | None]) -> str:
    if found["ci_low"] is None or found["ci_high"] is None:
        return f"{found['mean']:.3f}"
    return f"{found['mean']:.3f} [{found['ci_low']:.3f}, {found['ci_high']:.3f}]"


def _differences(figures: Mapping[str, Any]) -> str:
    lines: list[str] = []
    for other, found in figures["differences"].items():
        if any(found[measure] is None for measure in PRIMARY):
            continue
        count = found["questions"]
        counted = f"{count['better']} questions better, {count['same']} the same, {count['worse']} worse"
        said = f"log-prob {interval(found['solution_logprob'])}, right {interval(found['accuracy'])}"
        lines.append(f"- rl less {other}: {said}; {counted}")
    head = "Paired 95% intervals over questions, seeds averaged first:\n"
    return "\n".join([head, *lines]) if lines else ""


def _rlvr(figures: Mapping[str, Any]) -> str:
    ends = {start: found["accuracy"] for start, found in figures["rlvr"].items()}
    lines = [f"- after rlvr from {start}: right {_level(found)}" for start, found in ends.items()]
    differs = {other: one for other, one in figures["rlvr_differences"].items() if one is not None}
    lines += [f"- from rl less from {other}: {interval(one)}" for other, one in differs.items()]
    return "\n".join(["RL on answers, one seed each, report questions:\n", *lines]) if lines else ""


def _thoughts(rows: Sequence[Mapping[str, Any]]) -> str:
    of = {(row["arm"], row["question_id"]): row for row in rows if row["seed"] == 0}
    own = [row for row in rows if row["arm"] == "own" and row["seed"] == 0][:SHOWN]
    if not own or ("rl", own[0]["question_id"]) not in of:
        return ""
    shown = ["The first thoughts of the students own and rl (seed 0), whatever they say:"]
    for number, row in enumerate(own, start=1):
        shown.append(f"{number}. {quoted(row['question'])} Solution: {quoted(row['solution'])}")
        for arm in ("own", "rl"):
            one = of[arm, row["question_id"]]
            shown.append(f"   - {arm}: {quoted(one['thought'])}, then {quoted(one['said'] or '')}")
    return "\n".join(shown)
