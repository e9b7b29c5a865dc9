import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.experiment.arms import MAIN, Plan
from benchmarks.experiment.curves import chart
from benchmarks.experiment.page import BEGIN, END, part_of, placed, write_page

DOCS = Path(__file__).parents[2] / "docs"
PLAN = Plan(task="sums-2", main_seeds=(0, 1), sweep=(3.0,))


def row(arm: str, question: int, *, seed: int = 0, version: str | None = "v@1") -> dict[str, Any]:
    shares = dict.fromkeys(("closed", "verbatim", "steps_right", "ends_at_answer", "chain_right"), True)
    numbers = dict.fromkeys(("reward", "r_ss", "r_kl", "uplift", "length", "baseline_mean", "baseline_min"), -1.0)
    texts = {"question": f"What is {question}?", "solution": "One.", "text": f"{arm} says\n``{question}``"}
    return {"arm": arm, "seed": seed, "version": version, "question_id": f"q{question}", **shares, **numbers, **texts}


def write_rows(folder: Path, name: str, arm: str, *, seed: int = 0, version: str | None = "v@1") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row(arm, question, seed=seed, version=version)) for question in range(12)]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_run(folder: Path) -> None:
    for arm in ("base", "warm-up"):
        write_rows(folder, arm, arm)
    write_rows(folder, f"{MAIN}-0", MAIN)
    run = {"plan": asdict(PLAN), "commit": "abc", "date": "2030-01-01", "machine": "a laptop"}
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    (folder / "training").mkdir()
    told = {"arm": MAIN, "seed": 0, "steps": [1, 2, 3], "series": {"reward": [-1.0, None, 0.5]}}
    (folder / "training" / f"{MAIN}-0.json").write_text(json.dumps(told), encoding="utf-8")


def test_the_page_says_what_the_committed_rows_say() -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert page == placed(page, part=part_of(DOCS / "results" / "rl")), "run python -m benchmarks.experiment figures"


def test_what_has_no_rows_is_not_run_yet(tmp_path: Path) -> None:
    assert part_of(tmp_path / "rl").count("Not run yet") == 2
    write_run(tmp_path / "rl")
    found = part_of(tmp_path / "rl")
    assert "*Not run yet*: worked-solution, bare-solution, rl-1, kl-3-0, sparse-0, no-min-max-0." in found


def test_ten_explanations_before_and_after_stand_in_full_whatever_is_in_them(tmp_path: Path) -> None:
    write_run(tmp_path)
    found = part_of(tmp_path)
    assert [f'{number}. `"What is {number - 1}?"`' in found for number in (1, 10, 11)] == [True, True, False]
    assert '``` "rl says\\n``9``" ```' in found
    assert "rl says\\n``10``" not in found


def test_figures_pictures_and_page_are_written_from_the_rows(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "results" / "rl"
    write_run(folder)
    page = tmp_path / "docs" / "results.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_page(folder)
    assert json.loads((folder.parent / "rl.json").read_text(encoding="utf-8"))["difference"]["mean"] == 0.0
    assert "polyline" in (folder / "curve-reward.svg").read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "results/rl/curve-reward.svg" in text


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="has no"):
        placed("a page", part="figures")


def test_a_picture_is_svg_whose_lines_lie_within_it() -> None:
    root = ElementTree.fromstring(
        chart("a < b", {"one": [(0.0, -1.0), (2.0, 3.0)], "flat": [(1.0, 1.0)]}, across="step")
    )
    lines = [one.attrib["points"] for one in root.iter() if one.tag.endswith("polyline")]
    assert len(lines) == 2
    assert lines[0] == "64.0,264.0 624.0,32.0"
    with pytest.raises(ValueError, match="nothing to draw"):
        chart("none", {"one": []}, across="step")
