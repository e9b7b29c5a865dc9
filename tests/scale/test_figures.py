"""Figures follow from cells in full alone; what was not measured is null, and the page says that it was not run."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.scale import page, plans
from benchmarks.scale.cells import Cell
from benchmarks.scale.figures import figures_of

DOCS = Path(__file__).parents[2] / "docs"
QUEUE = {"queued": 100_000, "workers": 1_000, "jobs_per_s": 50.0, "start_p99_s": 1.5}
LATE = {"broken": 0, "late_p99_s": 1.0}


def cell(row: str, name: str, figures: Mapping[str, object], *, share: float = 1.0, date: str = "2026-01-01") -> Cell:
    return Cell(row=row, name=name, share=share, seconds=1.0, commit="c", date=date, machine="m", figures=figures)


def test_what_was_not_measured_is_null() -> None:
    found = figures_of({})
    assert (found["replicas"], found["queue"], found["sse_listeners"], found["commit"]) == ({}, None, None, None)


def test_cells_in_part_make_no_figures() -> None:
    assert figures_of({"queue": {"sqlite": cell("queue", "sqlite", QUEUE, share=0.1)}})["queue"] is None


def test_the_queue_is_told_on_postgres_where_it_was_measured() -> None:
    cells = {"sqlite": cell("queue", "sqlite", QUEUE), "postgres": cell("queue", "postgres", QUEUE | {"workers": 7})}
    found = figures_of({"queue": cells})["queue"]
    assert (found["database"], found["workers"]) == ("postgres", 7)
    assert found["by_database"]["sqlite"]["workers"] == 1_000
    assert figures_of({"queue": {"sqlite": cells["sqlite"]}})["queue"]["database"] == "sqlite"


@pytest.mark.parametrize(
    ("most", "served"),
    [(LATE, 2_000), (LATE | {"broken": 1}, 500), (LATE | {"late_p99_s": 9.0}, 500), ({"broken": 0}, 500)],
)
def test_listeners_count_whose_events_came_in_time_on_streams_that_held(most: dict[str, object], served: int) -> None:
    cells = {"500": cell("sse", "500", LATE), "2000": cell("sse", "2000", most)}
    assert figures_of({"sse": cells})["sse_listeners"] == served


def test_the_heads_are_those_of_the_newest_cell() -> None:
    cells = {"sqlite": cell("queue", "sqlite", QUEUE, date="2026-01-02")}
    found = figures_of({"queue": cells, "sse": {"100": cell("sse", "100", LATE)}})
    assert found["date"] == "2026-01-02"


def test_the_page_follows_from_the_committed_rows() -> None:
    text = (DOCS / "scaling.md").read_text(encoding="utf-8")
    found = page.found_in(DOCS / "results")
    assert page.with_tables(text, found) == text
    assert json.loads((DOCS / "results" / "scale" / "model.json").read_text(encoding="utf-8")) == found.model
    for name, figures in (("scale", found.scale), ("topology", found.topology)):
        path = DOCS / "results" / f"{name}.json"
        assert path.exists() == (figures["commit"] is not None)
        if path.exists():
            assert json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(figures))


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    found = page.found_in(DOCS / "results")
    with pytest.raises(ValueError, match="0 places"):
        page.with_tables("# Scaling", found)


def test_the_papers_run_is_that_of_its_ready_spec() -> None:
    spec = json.loads((DOCS.parent / "examples" / "specs" / "rlt_7b_rl.json").read_text(encoding="utf-8"))
    for run in plans.PAPER:
        assert (run.questions, run.samples) == (spec["questions_per_step"], spec["samples_per_question"])
        assert run.teachers + run.students + run.trainers == 8
    assert spec["max_tokens"] == plans.MOST_TOKENS
    assert spec["lora"] is None


def test_no_plan_is_one_that_the_service_refuses() -> None:
    # With all weights an engine holds one policy at a time: nothing is sampled ahead.
    assert not [
        run for of_it in plans.RUNS.values() for run in of_it if run.weights == plans.FULL_WEIGHTS and run.ahead
    ]


def test_a_hundred_nodes_have_eight_hundred_cards() -> None:
    assert {run.teachers + run.students + run.trainers for run in plans.HUNDRED} == {800}


def test_an_engine_on_a_card_holds_what_its_memory_has_room_for() -> None:
    # 0.9 · 80 GB less 15.2 GB of weights, over 57,344 bytes a token and 4,000 tokens: 247 sequences.
    engine = plans.engine_of(plans.H100, plans.QWEN_7B, context_tokens=4_000, reached=plans.Reached())
    assert engine.slots == int((72e9 - 15.2e9) / (57_344 * 4_000)) == 247
    assert engine.fixed_s == pytest.approx(15.2e9 / (0.6 * 3.35e12))
    assert asdict(engine)["first_s"] == plans.FIRST_S
