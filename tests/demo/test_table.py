import json
import shlex
from pathlib import Path

import pytest

from rlt_client.demo import provenance
from rlt_client.demo.table import DemoRow, DemoRun, difference, summarise, to_markdown, write_figures

RUN = DemoRun(
    commit="abc",
    date="2026-01-01",
    machine="two cores",
    command="make demo",
    engine="fake 1",
    wall_s=10.0,
    parts_s={"rl": 5.0},
    gate="refused",
    gate_reason="not better",
    gate_evaluation=None,
    reward={"kl_mean": 0.3},
    sizes={"rl_steps": 1},
    traffic={"requests": 1, "failed": 0, "versions": ["a@1"]},
)


def row(question_id: str, model: str, *, reward: float, closed: bool = True) -> DemoRow:
    return DemoRow(
        question_id=question_id,
        model=model,
        version=f"{model}@1",
        reward=reward,
        r_ss=reward / 2,
        r_kl=0.0,
        format=0.0,
        uplift=1.0,
        length=10,
        closed=closed,
        verbatim=False,
        steps_right=True,
        chain_right=False,
        text="…",
    )


ROWS = [
    row("a", "base", reward=-4.0),
    row("b", "base", reward=-6.0, closed=False),
    row("a", "warm-up", reward=-2.0),
    row("b", "warm-up", reward=-3.0),
    row("b", "RL", reward=-2.0),
    row("a", "RL", reward=-1.0),
]


def test_summary_averages_each_figure_of_its_own_model_only() -> None:
    summary = summarise(ROWS, model="base")
    assert summary["reward"] == -5.0
    assert summary["closed"] == 0.5


def test_difference_pairs_by_question_not_by_order() -> None:
    # a: -1 - (-2) = 1; b: -2 - (-3) = 1; by order it would be (-2 + 2) and (-1 + 3): 0 and 2, with a wide interval.
    found = difference(ROWS, figure="reward", before="warm-up", after="RL")
    assert (found.mean, found.ci_low, found.ci_high, found.n) == (1.0, 1.0, 1.0, 2)


def test_models_that_answered_other_questions_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same questions"):
        difference(ROWS[:-1], figure="reward", before="warm-up", after="RL")


def test_figures_are_computed_from_the_rows_on_disk(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "rows.jsonl").write_text("\n".join(entry.model_dump_json() for entry in ROWS))
    (tmp_path / "demo" / "run.json").write_text(RUN.model_dump_json())
    figures = write_figures(tmp_path)
    assert json.loads((tmp_path / "demo.json").read_text()) == figures
    assert figures["difference"] == {"mean": 1.0, "ci_low": 1.0, "ci_high": 1.0}
    assert (figures["before"]["reward"], figures["after"]["reward"], figures["gate"]) == (-2.5, -1.5, "refused")
    assert "**refused**" in to_markdown(figures)


def test_the_command_is_what_to_type_for_the_same_run() -> None:
    assert provenance.command(["--seed", "1"], make=None) == "python -m rlt_client.demo --seed 1"
    assert provenance.command([], make="make demo") == "make demo"
    named = provenance.command(["--results", "a b"], make="make demo")
    # What make gives to the shell again.
    assert shlex.split(named) == ["make", "demo", "DEMO_ARGS=--results 'a b'"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("fpu avx avx2", "Some CPU (AVX2)"),
        ("fpu avx avx2 avx512f avx512bw", "Some CPU (AVX-512)"),
        ("fpu avx2 avx512f amx_tile", "Some CPU (AMX)"),
        ("fpu", "Some CPU"),
    ],
)
def test_processor_is_named_with_its_widest_vectors(flags: str, named: str) -> None:
    assert provenance.processor_of(f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: {flags}\n") == named
