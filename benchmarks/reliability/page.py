"""Put the table into docs/reliability.md and the figures into docs/results/reliability.json, from the trials beside it.

`python -m benchmarks.reliability.page`
"""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.reliability.committed import committed_rows
from benchmarks.reliability.figures import row_of, table_of
from benchmarks.reliability.rows import ROWS
from benchmarks.reliability.run import read_runs
from benchmarks.reliability.trial import read_trials

RESULTS = Path(__file__).parents[2] / "docs" / "results"
COMMAND = "make chaos"


def write_page(results: Path = RESULTS) -> None:
    """Write both anew."""
    found = figures_of(results)
    (results / "reliability.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    page = results.parent / "reliability.md"
    page.write_text(with_table(page.read_text(encoding="utf-8"), found), encoding="utf-8")


def figures_of(results: Path) -> dict[str, Any]:
    """Compute every row that has been run, here or by another command, as it was promised then.

    The heads are those of the newest run.
    """
    runs = read_runs(results / "reliability" / "runs.json")
    rows: list[dict[str, Any]] = []
    for row in (row for row in ROWS if row.name in runs):
        trials = read_trials(results / "reliability" / f"{row.name}.jsonl")
        run = runs[row.name]
        figures = row_of(trials, name=row.name, promise=run.promise, real_parts=run.real_parts, note=run.note)
        rows.append(
            figures
            | {
                "command": f"{COMMAND} ROWS={row.name}",
                "seed": run.seed,
                "commit": run.commit,
                "date": run.date,
                "machine": run.machine,
                "duration_s": run.seconds,
            }
        )
    rows += committed_rows(results)
    newest = max(runs.values(), key=lambda run: run.date)
    return {
        "rows": rows,
        "commit": newest.commit,
        "date": newest.date,
        "machine": newest.machine,
        "command": COMMAND,
    }


def with_table(page: str, found: dict[str, Any]) -> str:
    """Give the page with the table that the figures make."""
    table = f"<!-- reliability -->\n{_source(found)}\n\n{table_of(found['rows'])}\n<!-- /reliability -->"
    return re.sub(r"<!-- reliability -->.*?<!-- /reliability -->", lambda _: table, page, flags=re.DOTALL)


def _source(found: dict[str, Any]) -> str:
    dates = sorted(row["date"] for row in found["rows"])
    seeds = sorted({row["seed"] for row in found["rows"] if row["seed"] is not None})
    minutes = sum(row["duration_s"] for row in found["rows"]) / 60
    return f"{dates[0]} to {dates[-1]}, seed {', '.join(map(str, seeds))}, {minutes:.0f} minutes, {found['machine']}."


if __name__ == "__main__":
    write_page()
