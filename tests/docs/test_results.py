"""Every figure of the committed demonstration can be computed again from the rows beside it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench_fairness import Row, summary_of, table_of
from benchmarks.exact import figures as exact
from benchmarks.explain import table as explain
from benchmarks.page import TABLES, with_tables
from benchmarks.score import profile
from benchmarks.score import table as score
from benchmarks.score.checks import AGREES
from benchmarks.score.workloads import WORKLOADS
from benchmarks.swap import figures as swap_figures
from rlt_client.demo.table import DemoRun, place_table, read_rows, to_markdown, write_figures

DOCS = Path(__file__).parents[2] / "docs"


def test_demo_json_and_the_table_in_the_docs_follow_from_the_committed_rows(tmp_path: Path) -> None:
    shutil.copytree(DOCS / "results" / "demo", tmp_path / "results" / "demo")
    shutil.copy(DOCS / "results.md", tmp_path / "results.md")
    figures = write_figures(tmp_path / "results")
    assert json.loads((DOCS / "results" / "demo.json").read_text(encoding="utf-8")) == figures
    assert to_markdown(figures) in (DOCS / "results.md").read_text(encoding="utf-8")
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == (DOCS / "results.md").read_text(encoding="utf-8")


def test_committed_rows_hold_one_row_a_question_and_model_by_real_versions() -> None:
    rows = read_rows(DOCS / "results" / "demo" / "rows.jsonl")
    run = DemoRun.model_validate_json((DOCS / "results" / "demo" / "run.json").read_text(encoding="utf-8"))
    assert run.engine.startswith("vllm ")
    keys = [(row.model, row.question_id) for row in rows]
    assert len(set(keys)) == len(keys) == 3 * run.sizes["report_questions"]
    assert {row.version.partition("@")[0] for row in rows} == {"smollm2-135m", "demo-teacher"}


def test_a_page_without_markers_stays_as_it_is() -> None:
    assert place_table("# Results", table="| new |") == "# Results"


def test_the_fairness_table_follows_from_the_committed_rows() -> None:
    found = json.loads((DOCS / "results" / "fairness.json").read_text(encoding="utf-8"))
    summary = summary_of([Row(**row) for row in found["rows"]])
    assert summary == found["summary"]
    assert table_of(summary) in (DOCS / "serving-explain.md").read_text(encoding="utf-8")


def test_the_tables_of_performance_follow_from_the_committed_results() -> None:
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->\n" in page for name in TABLES)
    assert with_tables(page, DOCS / "results") == page


@pytest.mark.parametrize(("name", "items"), [("exact", 500), ("exact-fast", 120)])
def test_exact_json_follows_from_its_rows(name: str, items: int) -> None:
    found = read_json(name)
    rows = read_lines(DOCS / "results" / name / "rows.jsonl")
    assert exact.figures_of(rows).items() <= found.items()
    assert found["items"] == len({row["id"] for row in rows}) == items


def test_score_json_follows_from_its_rows() -> None:
    folder = DOCS / "results" / "score"
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    rates = score.read_rates(read_lines(folder / "rows.jsonl"))
    checks = score.read_checks(folder)
    assert score.figures_of(rates, run, checks=checks) == read_json("score")
    assert all(part["largest_difference"] <= AGREES for parts in checks.values() for part in parts.values())
    assert set(rates) == set(WORKLOADS)
    assert {len(values) for contenders in rates.values() for values in contenders.values()} == {run["repeats"]}
    assert run["repeats"] >= 5


def test_sampled_json_follows_from_its_rows() -> None:
    found = read_json("sampled")
    assert exact.sampled_figures_of(read_lines(DOCS / "results" / "sampled" / "rows.jsonl")).items() <= found.items()


def test_the_parts_of_a_profile_add_up_to_the_whole() -> None:
    for row in read_json("profile")["rows"]:
        seconds = row["seconds"]
        assert sum(seconds[part] for part in profile.PARTS) == pytest.approx(seconds["whole"], abs=1e-3)


def test_explain_json_follows_from_its_rows() -> None:
    found = read_json("explain")
    assert explain.figures_of(read_lines(DOCS / "results" / "explain" / "rows.jsonl")).items() <= found.items()
    assert found["repeats"] >= 5


SWAPS = [("swap", "fake", 64, 200), ("swap", "real", 8, 20), ("swap-full", "full", 8, 20)]


@pytest.mark.parametrize(
    ("file", "name", "clients", "swaps"), [one for one in SWAPS if (DOCS / "results" / f"{one[0]}.json").exists()]
)
def test_swap_json_follows_from_its_rows(file: str, name: str, clients: int, swaps: int) -> None:
    folder = DOCS / "results" / "swap"
    rows, moves = (read_lines(folder / f"{name}-{kind}.jsonl") for kind in ("requests", "swaps"))
    found = read_json(file)[name]
    assert swap_figures.figures_of(rows, moves).items() <= found.items()
    assert (found["clients"], found["swaps"], found["failed"], found["mixed"]) == (clients, swaps, 0, 0)
    assert swap_figures.keeps_the_promises(found)


def read_json(name: str) -> dict[str, Any]:
    return json.loads((DOCS / "results" / f"{name}.json").read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
