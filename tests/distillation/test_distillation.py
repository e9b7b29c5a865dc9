import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from benchmarks.distillation import pilot
from benchmarks.distillation.budget import course_of
from benchmarks.distillation.figures import PUBLISHED, figures_of, issue_figures
from benchmarks.distillation.page import BEGIN, END, part_of, write_page
from benchmarks.distillation.plan import ARMS, TINY, Asked, Plan
from benchmarks.distillation.protocol import Run
from benchmarks.distillation.questions import asked_of, parts_of, uploaded
from benchmarks.distillation.teachers import NEEDED, state_of
from benchmarks.experiment.page import placed
from benchmarks.experiment.session import Session
from benchmarks.experiment.tasks import Row, arithmetic, divided
from rlt_client import Client
from rlt_core.schemas.jobs import SubmittedSpec
from rlt_core.statistics import mean

DOCS = Path(__file__).parents[2] / "docs"
TASK = arithmetic(3)
PLAN = Plan(seeds=(0, 1)).on("arithmetic-3")
RUN: dict[str, Any] = {"plan": asdict(PLAN), "commit": "abc", "date": "2030-01-01", "machine": "a laptop"}


def row(arm: str, question: int, *, seed: int = 0, accuracy: float = 0.5, logprob: float = -1.0) -> dict[str, Any]:
    others = dict.fromkeys(("without_thought", "closed", "tokens", "steps_right", "ends_at_answer"), 1.0)
    texts = {"question": f"{question}?", "solution": "The answer is 1.", "thought": f"{arm} `thinks`", "said": None}
    named = {"arm": arm, "seed": seed, "version": "v@1", "question_id": f"q{question}"}
    return named | others | texts | {"accuracy": accuracy, "solution_logprob": logprob}


ROWS = [
    *(row(arm, question) for arm in PUBLISHED if arm != "rl" for question in (1, 2)),
    # rl: question 1 has (1.0 + 0.5) / 2 = 0.75 of two seeds, question 2 has (0.5 + 0.0) / 2 = 0.25; the mean is 0.5.
    row("rl", 1, accuracy=1.0, logprob=0.0),
    row("rl", 1, accuracy=0.5, logprob=-1.0, seed=1),
    row("rl", 2, accuracy=0.5, logprob=0.0),
    row("rl", 2, accuracy=0.0, logprob=-1.0, seed=1),
    *(row("rlvr-rl", question, accuracy=1.0) for question in (1, 2)),
    *(row("rlvr-base", question, accuracy=0.25) for question in (1, 2)),
]
CURVE = {"arm": "rlvr-rl", "seed": 0, "accuracy_before": 0.25, "steps": [1, 2], "cost": {}}
TRAINING = [CURVE | {"series": {"select_accuracy": [None, 0.75], "accuracy": [0.1, 0.2]}}]


def test_no_question_is_in_two_parts_and_the_teachers_parts_are_theirs() -> None:
    parts = asdict(parts_of(TASK, plan=PLAN))
    questions = {name: {one["question"] for one in rows} for name, rows in parts.items()}
    assert not any(questions[one] & questions[other] for one, other in combinations(questions, 2))
    assert {name: len(found) for name, found in questions.items()} == {
        "pilot": 64,
        "pilot_held_out": 32,
        "train": 256,
        "practice": 64,
        "report": 200,
        "curve": 48,
    }
    theirs = divided(TASK, sizes=PLAN.teachers.sizes(), seed=0)
    assert questions["train"] == {one.question for one in theirs["train"]}
    assert questions["practice"] == {one.question for one in (*theirs["select"], *theirs["gate"])}


@pytest.mark.parametrize("length", [40, 75, 130, 260])
def test_long_and_short_texts_get_the_same_tokens_in_nearly_as_many_steps(length: int) -> None:
    course = course_of([length] * 256, budget=48_000, a_step=1_200)
    assert course.tokens == pytest.approx(48_000, rel=0.02)
    assert course.steps == pytest.approx(40, rel=0.2)


def test_a_course_counts_an_epoch_s_smaller_last_step() -> None:
    # 10 rows of 100 tokens, 400 a step: 4 rows, so 3 steps an epoch of 1,000 tokens; 2,000 tokens are 6 steps.
    course = course_of([100] * 10, budget=2_000, a_step=400)
    assert (course.batch, course.steps, course.tokens) == (4, 6, pytest.approx(2_000))
    with pytest.raises(ValueError, match="no rows"):
        course_of([], budget=1, a_step=1)


def test_a_row_has_what_a_verdict_needs() -> None:
    given = {"id": "c", "solution": "The answer is 95 + (36 - 4).", "trace": "36 - 4 = 32", "one_way": False}
    question = "Using the numbers [95, 36, 4], make one that equals 127. You can"
    found = uploaded(Row(question=question, **given), thought=".")
    assert found["answer"] == "95 + (36 - 4)"
    assert (found["nums"], found["target"], found["reasoning_trace"]) == ([95, 36, 4], 127, ".")
    assert "nums" not in uploaded(TASK.rows(1, 0)[0])
    with pytest.raises(ValueError, match="does not begin"):
        uploaded(Row(id="a", question="?", solution="Four.", trace="", one_way=True))


def test_every_spec_is_one_that_the_contract_takes() -> None:
    asked = asked_of(TASK, plan=PLAN)
    course = course_of([100] * 10, budget=2_000, a_step=400)
    specs = [
        PLAN.collect_spec(arm="rl", seed=1, dataset="ds_a", teacher="t@1", student="s@1", longest=64),
        PLAN.arm_spec(name="rl-1", seed=1, dataset="ds_a", report="ds_b", course=course, asked=asked),
        PLAN.evaluate_spec(model="base@0", dataset="ds_b", asked=Asked(max_tokens=9, verdict="countdown")),
        PLAN.rlvr_spec(start="rl", student="rl-0@1", practice="ds_a", curve="ds_b", report="ds_c", asked=asked),
    ]
    adapter: TypeAdapter[Any] = TypeAdapter(SubmittedSpec)
    assert [adapter.validate_python(spec).kind for spec in specs] == ["collect", "pipeline", "evaluate", "pipeline"]


def test_figures_average_seeds_first_and_compare_questions_in_pairs() -> None:
    found = figures_of(ROWS, run=RUN, training=TRAINING)
    assert (found["task"], found["seeds"], found["questions"]) == ("arithmetic-3", [0, 1], 2)
    assert found["arms"]["rl"]["accuracy"] == {"mean": 0.5, "ci_low": 0.25, "ci_high": 0.75}
    # Log-prob: each question has (0 - 1) / 2 = -0.5 under rl and -1 under own: +0.5 in every resample.
    assert found["differences"]["own"]["solution_logprob"] == {"mean": 0.5, "ci_low": 0.5, "ci_high": 0.5}
    assert found["differences"]["own"]["questions"] == {"better": 1, "same": 0, "worse": 1}
    assert found["rlvr_differences"]["base"]["mean"] == pytest.approx(0.75)
    assert found["rlvr"]["rl"]["curve"] == [[0.0, 0.25], [2.0, 0.75]]


def test_the_published_figures_have_the_fields_of_the_issue_and_no_others() -> None:
    found = issue_figures(figures_of(ROWS, run=RUN, training=TRAINING))
    assert found is not None
    assert list(found) == ["task", "seeds", "questions", "arms", "rlvr", "commit", "date", "machine", "command"]
    assert list(found["arms"]) == list(PUBLISHED)
    assert found["arms"]["rl"] == {"accuracy": 0.5, "ci_low": 0.25, "ci_high": 0.75, "solution_logprob": -0.5}
    assert issue_figures(figures_of(ROWS[2:], run=RUN, training=[])) is None


def test_the_pilot_takes_the_teachers_task_where_it_may_be_taken_else_the_nearest_to_a_half() -> None:
    tasks = {
        name: [row("base", 1, accuracy=0.0), row("own", 1, accuracy=accuracy)]
        for name, accuracy in (("easy", 0.9), ("middle", 0.4), ("hard", 0.1))
    }
    assert pilot.figures_of(tasks, teachers_task=None)["choice"] == "middle"
    assert pilot.figures_of(tasks, teachers_task="hard")["choice"] == "hard"
    found = pilot.figures_of(tasks, teachers_task="easy")
    assert (found["choice"], found["tasks"]["easy"]["refused"]) == ("middle", ["right already"])


class Noted(Session):
    """A session on which nothing runs: it notes whom it was asked to make rows of."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Client("http://nowhere"), work=folder, out=folder, until_s=float("inf"))
        self.made: list[str] = []

    def rows(self, name: str, make: Callable[[], Iterable[dict[str, Any]]]) -> None:
        self.made.append(name)


class Skipping(Run):
    """A run whose arms only say that it was their turn."""

    def __init__(self, session: Noted, *, plan: Plan) -> None:
        super().__init__(session, plan=plan, task=TASK)
        self._noted = session

    def base(self) -> None:
        self._noted.made.append("base")

    def arm(self, arm: str, *, seed: int) -> None:
        self._noted.made.append(f"{arm}-{seed}")

    def rlvr(self, start: str) -> None:
        self._noted.made.append(f"rlvr-{start}")


def test_what_has_committed_rows_is_not_made_again(tmp_path: Path) -> None:
    for name in ("base", "own-0", "rlvr-own"):
        (tmp_path / f"{name}.jsonl").write_text("{}\n", encoding="utf-8")
    session = Noted(tmp_path)
    Skipping(session, plan=PLAN).all()
    trained = [f"{arm}-{seed}" for seed in (0, 1) for arm in ARMS]
    assert session.made == [*trained[1:], "rlvr-base", "rlvr-rl"]
    for name in PLAN.row_files():
        (tmp_path / f"{name}.jsonl").write_text("{}\n", encoding="utf-8")
    session = Noted(tmp_path)
    Run(session, plan=PLAN, task=TASK).all()
    assert session.made == []


def test_the_teachers_state_is_used_where_it_is_of_the_same_plan_and_kept_for_later_calls(tmp_path: Path) -> None:
    theirs, out = tmp_path / "rl", tmp_path / "results"
    theirs.mkdir()
    out.mkdir()
    (theirs / "notes.json").write_text(json.dumps(dict.fromkeys(NEEDED, "v@1")), encoding="utf-8")
    where = {"rl_work": theirs, "rl_out": out}
    assert state_of(tmp_path / "no-plan", plan=PLAN, **where) == tmp_path / "no-plan" / "home"
    (out / "run.json").write_text(json.dumps({"plan": asdict(PLAN.teachers)}), encoding="utf-8")
    assert state_of(tmp_path / "a", plan=PLAN, **where) == theirs / "home"
    assert json.loads((tmp_path / "a" / "notes.json").read_text("utf-8"))["warm-teacher"] == "v@1"
    assert state_of(tmp_path / "b", plan=PLAN.on("sums-2"), **where) == tmp_path / "b" / "home"
    (theirs / "notes.json").unlink()
    assert state_of(tmp_path / "a", plan=PLAN, **where) == theirs / "home"
    assert state_of(tmp_path / "no-plan", plan=PLAN, **where) == tmp_path / "no-plan" / "home"


def test_a_plan_is_read_back_from_its_json_and_the_tiny_one_has_every_part() -> None:
    assert Plan.read(json.loads(json.dumps(asdict(PLAN)))) == PLAN
    tiny = parts_of(TASK, plan=Plan.read(TINY))
    assert mean([float(len(rows)) for rows in asdict(tiny).values()]) < 5


def test_the_page_says_what_the_committed_rows_say() -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    part = part_of(DOCS / "results" / "distil")
    assert page == placed(page, part=part, begin=BEGIN, end=END), "run python -m benchmarks.distillation figures"


def test_figures_picture_and_page_are_written_from_the_rows_the_same_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "results" / "distil"
    (folder / "training").mkdir(parents=True)
    page = tmp_path / "docs" / "results.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    assert part_of(folder).count("Not run yet") == 2
    (folder / "run.json").write_text(json.dumps(RUN), encoding="utf-8")
    (folder / "training" / "rlvr-rl.json").write_text(json.dumps(TRAINING[0]), encoding="utf-8")
    (folder / "base.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ROWS), encoding="utf-8")
    write_page(folder)
    first = page.read_text(encoding="utf-8")
    write_page(folder)
    assert page.read_text(encoding="utf-8") == first
    assert first.startswith("before\n")
    assert first.endswith("after\n")
    assert "- rl less own: log-prob +0.500 [+0.500, +0.500]" in first
    assert "results/distil/rlvr-curve.svg" in first
    assert "*Not run yet*: own-0" in first
    assert json.loads((folder.parent / "distil.json").read_text("utf-8"))["arms"]["rl"]["accuracy"] == 0.5
