from typing import Any

import pytest

from benchmarks.experiment.arms import MAIN, Datasets, Models, Plan
from benchmarks.experiment.figures import PUBLISHED, difference, figures_of, issue_figures, means, table_of

RUN: dict[str, Any] = {"plan": {"task": "sums-2"}, "commit": "abc", "date": "2030-01-01", "machine": "a laptop"}


def row(arm: str, question: str, reward: float | None, *, seed: int = 0, version: str | None = "v@1") -> dict[str, Any]:
    return {
        "arm": arm,
        "seed": seed,
        "version": version,
        "question_id": question,
        "reward": reward,
        "r_ss": -1.0,
        "r_kl": 0.5 if version else None,
        "uplift": 0.25,
        "length": 10 if version else None,
        "closed": True,
        "verbatim": False,
        "steps_right": question == "q1",
        "ends_at_answer": True,
        "chain_right": False,
        "baseline_mean": -2.0,
        "baseline_min": -5.0,
    }


ROWS = [
    *(row("base", question, -3.0) for question in ("q1", "q2")),
    *(row("warm-up", question, -2.0) for question in ("q1", "q2")),
    *(row(MAIN, question, reward, seed=seed) for seed, reward in ((0, -1.0), (1, 0.0)) for question in ("q1", "q2")),
    *(row("kl-3", question, -2.5) for question in ("q1", "q2")),
    *(row("worked solution", question, None, version=None) for question in ("q1", "q2")),
]


def test_the_figures_compare_rl_with_the_warm_up_over_the_seeds() -> None:
    found = figures_of(ROWS, run=RUN)
    assert (found["task"], found["seeds"], found["questions"]) == ("sums-2", [0, 1], 2)
    assert found["rl"]["reward"] == -0.5
    assert found["difference"]["mean"] == pytest.approx(1.5)
    assert found["by_seed"]["0"]["reward"]["mean"] == pytest.approx(1.0)
    assert means(ROWS[8:10]).items() <= found["ablations"]["kl-3"].items()
    assert found["controls"]["worked solution"]["reward"] is None
    assert found["controls"]["worked solution"]["r_ss"] == -1.0
    assert found["controls"]["none"]["r_ss"] == pytest.approx(-2.05)
    assert "| kl-3 | -2.500 |" in table_of(found)
    assert found["rl"]["steps_right"] == 0.5


def test_the_published_figures_have_the_fields_of_the_issue_and_no_others() -> None:
    found = issue_figures(figures_of(ROWS, run=RUN))
    assert found is not None
    named = "task seeds questions base warmup rl difference difference_r_ss controls ablations"
    assert list(found) == [*named.split(), "commit", "date", "machine", "command"]
    assert set(found["rl"]) == set(PUBLISHED)
    assert set(found["difference"]) == {"mean", "ci_low", "ci_high"}
    assert issue_figures(figures_of(ROWS[:4], run=RUN)) is None


def test_questions_are_compared_in_pairs() -> None:
    before = [row("a", "q1", -5.0), row("a", "q2", -1.0)]
    after = [row("b", "q2", 0.0), row("b", "q1", -4.0)]
    assert difference(before, after, measure="reward") == {"mean": 1.0, "ci_low": 1.0, "ci_high": 1.0}
    assert difference(before[:1], after, measure="reward") is None
    with pytest.raises(ValueError, match="same questions"):
        difference([*before, row("a", "q3", -9.0)], after, measure="reward")


def test_the_arms_are_the_protocol_s() -> None:
    plan = Plan(task="sums-2", kl_mean=0.3, sweep=(0.0, 0.3, 3.0))
    arms = {arm.name: arm for arm in plan.arms()}
    assert list(arms) == [MAIN, "kl-0", "kl-0.3", "kl-3", "sparse", "no-min-max"]
    assert arms[MAIN].seeds == (0, 1, 2)
    assert arms["kl-3"].reward == {"kl_mean": 3.0, "kl_max": 0.03}
    assert arms["no-min-max"].reward == {"kl_mean": 0.3, "kl_max": 0.0, "solution_min": 0.0}
    assert arms["sparse"].sparse
    given: dict[str, Any] = {
        "seed": 0,
        "data": Datasets(train="a", select="b", gate="c"),
        "models": Models(student="s@1", teacher="t@1"),
    }
    steps = {name: plan.rl_spec(arm, max_tokens=64, **given)["steps"] for name, arm in arms.items()}
    assert steps == dict.fromkeys(arms, 20) | {MAIN: 40}
