"""Put the tables into docs/scaling.md and the figures beside the rows: `python -m benchmarks.scale.page`."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability.figures import row_of
from benchmarks.reliability.figures import table_of as trials_table
from benchmarks.reliability.run import read_runs
from benchmarks.reliability.trial import read_trials
from benchmarks.scale import cells, plans
from benchmarks.scale.checks import checks_of
from benchmarks.scale.figures import COMMAND, figures_of
from benchmarks.scale.rows import BY_NAME
from benchmarks.topology.rows import ROWS as TOPOLOGY

DOCS = Path(__file__).parents[2] / "docs"
TOPOLOGY_COMMAND = "make bench-topology"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that the page's tables are made of."""

    results: Path
    scale: Mapping[str, Any]
    topology: Mapping[str, Any]
    model: Mapping[str, Any]


def write_page(results: Path = DOCS / "results") -> None:
    """Write figures and page anew, of what has been measured."""
    found = found_in(results)
    for name, figures in (("scale", found.scale), ("topology", found.topology)):
        if figures["commit"] is not None:
            (results / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (results / "scale").mkdir(exist_ok=True)
    (results / "scale" / "model.json").write_text(json.dumps(found.model, indent=1) + "\n", encoding="utf-8")
    page = results.parent / "scaling.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8"), found), encoding="utf-8")


def found_in(results: Path) -> Found:
    """Compute all figures from the rows in `results` (docs/results)."""
    scale = figures_of({name: cells.read(results / "scale", name) for name in BY_NAME})
    return Found(results=results, scale=scale, topology=topology_of(results), model=model_of(scale))


def topology_of(results: Path) -> dict[str, Any]:
    """Compute the rows of the topology that have been run; the heads are those of the newest run."""
    path = results / "topology" / "runs.json"
    runs = read_runs(path) if path.exists() else {}
    rows: list[dict[str, Any]] = []
    for row in (row for row in TOPOLOGY if row.name in runs):
        trials = read_trials(results / "topology" / f"{row.name}.jsonl")
        figures = row_of(trials, name=row.name, promise=row.promise, real_parts=REAL_PARTS, note=row.note)
        rows.append(figures | asdict(runs[row.name]))
    newest = max(runs.values(), key=lambda run: run.date, default=None)
    facts = {name: None if newest is None else getattr(newest, name) for name in ("commit", "date", "machine")}
    return {"rows": rows, **facts, "command": TOPOLOGY_COMMAND}


REAL_PARTS = (
    "all servers, workers, supervisors, nginx, Postgres and Valkey are real processes of one machine; the engine is "
    "the fake one, 0.1 s an answer; the trainer is a stub that explains and scores in each step"
)


def model_of(scale: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out a step of every planned run, by measured inputs where there are any."""
    call_ms = scale["replicas"].get("explain-timed", {}).get("1", {}).get("overhead_p50_ms")
    read_us = (scale.get("reading") or {}).get("read_us_a_token")
    call_s = plans.CALL_S if call_ms is None else call_ms / 1000
    read_token_s = plans.READ_TOKEN_S if read_us is None else read_us / 1e6
    inputs = {
        "call_s": call_s,
        "call_s_measured": call_ms is not None,
        "read_token_s": read_token_s,
        "read_token_s_measured": read_us is not None,
        "card": asdict(plans.H100),
        "shape": asdict(plans.QWEN_7B),
        "reached": asdict(plans.Reached()),
    }
    runs = {
        name: [_step_of(plans.with_inputs(run, call_s=call_s, read_token_s=read_token_s)) for run in of_it]
        for name, of_it in plans.RUNS.items()
    }
    return {"inputs": inputs, "runs": runs, "command": "python -m benchmarks.scale.page"}


def _step_of(run: plans.Run) -> dict[str, Any]:
    step = plans.simulated(run)
    rounded = {name: round(value, 3) for name, value in asdict(step).items()}
    return {"run": asdict(run), "step": rounded, "bottleneck": step.bottleneck}


def with_tables(page: str, found: Found) -> str:
    """Give the page with every table; raises ValueError where it has no place for one."""
    for name, table in TABLES.items():
        text = f"<!-- {name} -->\n{table(found).strip()}\n<!-- /{name} -->"
        page, times = re.subn(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _, text=text: text, page, flags=re.DOTALL)
        if times != 1:
            raise ValueError(f"{times} places for the table {name!r}, not one")
    return page


def _not_run(command: str) -> str:
    return f"*Not run yet*: `{command}` writes the table."


def replicas_table(found: Found) -> str:
    """Say what one to eight servers did."""
    by_call = found.scale["replicas"]
    if not by_call:
        return _not_run(f"{COMMAND} ROWS=replicas")
    lines = [
        _source(found.scale),
        "",
        "| call | servers | callers | requests/s | p50 | p99 | over the engine's time, p50 / p99 "
        "| processor time of a call | processors: servers, callers | failed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for call, by_count in by_call.items():
        for count, seen in by_count.items():
            over_ms = [seen[name] for name in ("overhead_p50_ms", "overhead_p99_ms") if name in seen]
            over = f"{over_ms[0]:.0f} / {over_ms[1]:.0f} ms" if over_ms else ""
            lines.append(
                f"| `{call}` | {count} | {seen['callers']} | {seen['requests_per_s']:,.1f} | {seen['p50_ms']:.0f} ms "
                f"| {seen['p99_ms']:.0f} ms | {over} | {seen['server_cpu_ms']:.1f} ms "
                f"| {seen['server_cores']:.2f}, {seen['callers_cores']:.2f} | {seen['failed']} |"
            )
    return "\n".join(lines)


def queue_table(found: Found) -> str:
    """Say what the queue did on each database."""
    queue = found.scale["queue"]
    if queue is None:
        return _not_run(f"{COMMAND} ROWS=queue")
    lines = [
        _source(found.scale),
        "",
        "| database | waiting, workers | submissions/s, one caller | jobs/s, 16 workers at once "
        "| 202 to running, p50 / p99 | claim, p50 | heartbeat, p99 | bytes a waiting job, more when done "
        "| errors, never started |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, seen in queue["by_database"].items():
        start = f"{seen['start_p50_s']:.2f} / {seen['start_p99_s']:.2f} s" if "start_p99_s" in seen else "none started"
        lines.append(
            f"| {kind} | {seen['queued']:,}, {seen['workers']:,} | {seen['submits_per_s']:,.0f} "
            f"| {seen['jobs_per_s']:,.1f} | {start} | {_ms(seen['claim_p50_ms'])} | {_ms(seen.get('beat_p99_ms'))} "
            f"| {seen['bytes_queued']:,}, {seen['bytes_done'] or 0:,} | {seen['errors']}, {seen['not_started']} |"
        )
    return "\n".join(lines)


def sse_table(found: Found) -> str:
    """Say what listeners heard, and how late."""
    if not found.scale["sse"]:
        return _not_run(f"{COMMAND} ROWS=sse")
    lines = [
        _source(found.scale),
        "",
        "| listeners | opened, in | events heard | late, p50 / p99 | broken | processors of the server "
        "| KiB a listener |",
        "|---|---|---|---|---|---|---|",
    ]
    for seen in found.scale["sse"].values():
        late = f"{seen['late_p50_s']:.2f} / {seen['late_p99_s']:.2f} s" if "late_p99_s" in seen else "none heard"
        lines.append(
            f"| {seen['listeners']:,} | {seen['opened']:,}, {seen['open_s']:.1f} s | {seen['events']:,} | {late} "
            f"| {seen['broken']} | {seen['server_cores']:.2f} | {seen.get('kib_a_listener', 0):.0f} |"
        )
    return "\n".join(lines)


def topology_table(found: Found) -> str:
    """Say what held on the topology of replicas."""
    if not found.topology["rows"]:
        return _not_run(TOPOLOGY_COMMAND)
    return f"{_source(found.topology)}\n\n{trials_table(found.topology['rows'])}"


def check_table(found: Found) -> str:
    """Lay the model beside what was measured."""
    lines = ["| what | by the model | measured | ratio |", "|---|---|---|---|"]
    for check in checks_of(found.results, found.scale):
        lines.append(
            f"| {check.what} | {check.modelled:.2f} {check.unit} | {check.measured:.2f} {check.unit} "
            f"| {check.ratio:.2f} |"
        )
    if not found.scale["replicas"]:
        lines.append(f"| replicas with an engine of measured times | | *not run yet*: `{COMMAND} ROWS=replicas` | |")
    return "\n".join(lines)


def _model_table(runs: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| teachers, students, trainers (cards) | weights | ahead | mean tokens | tokens of a step | generation "
        "| until all is scored | training | publishing | a step | slots in use | bottleneck |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in runs:
        run, step = one["run"], one["step"]
        lines.append(
            f"| {run['teachers']}, {run['students']}, {run['trainers']} | {run['weights']} | {run['ahead']} "
            f"| {run['mean_tokens']:,.0f} | {step['tokens'] / 1e6:,.1f} M | {step['generated_s']:,.0f} s "
            f"| {step['rollouts_s']:,.0f} s | {step['train_s']:,.0f} s | {step['publish_s']:,.0f} s "
            f"| {step['step_s']:,.0f} s | {100 * step['teachers_fill']:.0f}% | {one['bottleneck']} |"
        )
    return "\n".join(lines)


TABLES: Mapping[str, Callable[[Found], str]] = {
    "scale-replicas": replicas_table,
    "scale-queue": queue_table,
    "scale-sse": sse_table,
    "topology": topology_table,
    "scale-check": check_table,
    "scale-paper": lambda found: _model_table(found.model["runs"]["paper"]),
    "scale-hundred": lambda found: _model_table(found.model["runs"]["hundred"]),
}


def _source(found: Mapping[str, Any]) -> str:
    commits = ", ".join(found.get("commits") or [found["commit"]])
    return f"`{found['command']}`, {found['date']}, commit {commits}, {found['machine']}."


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f} ms"


if __name__ == "__main__":
    write_page()
