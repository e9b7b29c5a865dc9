"""The gate: it goes by stored rows, of one student and one format, and holds back what closes fewer explanations."""

from collections.abc import Iterator
from typing import Any

import pytest

from rlt_core.schemas.base import new_id
from rlt_core.schemas.teachers import Difference
from tests.support.control import Control, check_problem, control_app, evaluation_row


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(scope="module")
def first(control: Control) -> str:
    return control.version("algebra", seed=1)


@pytest.fixture(scope="module")
def second(control: Control, first: str) -> str:
    return control.version("algebra", seed=2)


@pytest.fixture
def alias(control: Control, first: str) -> str:
    name = new_id("a").replace("_", "-")
    assert control.http.put(f"/v1/aliases/teacher/{name}", json={"version": first}).status_code == 200
    return name


def gated(control: Control, alias: str, first: str, second: str, **fields: Any) -> Any:
    body = {"version": second, "expected": first, "gate": "if_better", **fields}
    return control.http.put(f"/v1/aliases/teacher/{alias}", json=body)


def test_a_promotion_names_the_evaluation_whose_every_row_can_be_read(
    control: Control, alias: str, first: str, second: str
) -> None:
    evaluation = control.evaluation(before=first, after=second, gain=0.25)
    assert gated(control, alias, first, second).status_code == 200
    move = control.http.get(f"/v1/aliases/teacher/{alias}/history").json()["data"][0]
    assert move["evaluation"] == evaluation
    rows = control.http.get(f"/v1/evaluations/{evaluation}/rows").json()["data"]
    rewards = {version: [row["reward"] for row in rows if row["version"] == version] for version in (first, second)}
    assert rewards == {first: [-1.0] * 30, second: [-0.75] * 30}
    asked = [[row["question"] for row in rows if row["version"] == version] for version in (first, second)]
    assert asked[0] == asked[1]


def test_a_better_reward_does_not_make_up_for_fewer_closed_explanations(
    control: Control, alias: str, first: str, second: str
) -> None:
    held_back = control.evaluation(before=first, after=second, gain=0.5, closed=(0.9, 0.8))
    body = check_problem(gated(control, alias, first, second, evaluation=held_back), 409, "not_better", "/evaluation")
    assert "80.0%" in body["detail"]
    assert "90.0%" in body["detail"]
    assert control.alias("teacher", alias) == first
    fine = control.evaluation(before=first, after=second, gain=0.5, closed=(0.8, 0.8))
    assert gated(control, alias, first, second, evaluation=fine).status_code == 200


def test_figures_that_the_stored_rows_do_not_bear_out_open_nothing(
    control: Control, alias: str, first: str, second: str
) -> None:
    honest = control.services.registry.get_evaluation(control.evaluation(before=first, after=second, gain=-0.5))
    boast = Difference(mean=9.0, ci_low=8.0, ci_high=10.0, n=30)
    lie = honest.model_copy(update={"id": new_id("eval"), "difference": boast})
    rows = [
        evaluation_row(version=version, number=number, reward=-1.0) for version in (first, second) for number in (1, 2)
    ]
    control.services.registry.save_evaluation(lie, rows)
    answer = gated(control, alias, first, second, evaluation=lie.id)
    assert "+0.0000" in check_problem(answer, 409, "not_better", "/evaluation")["detail"]
    for number, kept in enumerate((rows[:3], [])):
        other = lie.model_copy(update={"id": new_id("eval")})
        control.services.registry.save_evaluation(other, kept)
        answer = gated(control, alias, first, second, evaluation=other.id)
        check_problem(answer, 409, "evaluation_required", "/evaluation")
        assert control.alias("teacher", alias) == first, number


def test_the_judgement_of_another_student_counts_only_where_that_student_is_named(
    control: Control, alias: str, first: str, second: str
) -> None:
    judge = control.version(f"{alias}-judge", role="student", seed=5)
    by_judge = control.evaluation(before=first, after=second, gain=0.5, student=judge)
    answer = gated(control, alias, first, second, evaluation=by_judge)
    body = check_problem(answer, 409, "evaluation_required", "/evaluation")
    assert judge in body["detail"]
    assert "fake@0" in body["detail"]
    assert gated(control, alias, first, second, evaluation=by_judge, student=judge).status_code == 200


def test_a_judgement_is_stale_once_its_students_alias_has_moved(
    control: Control, alias: str, first: str, second: str
) -> None:
    evaluation = control.evaluation(before=first, after=second, gain=0.5)
    judge = control.version(f"{alias}-judge", role="student", seed=5)
    control.http.put(f"/v1/aliases/student/{alias}-s", json={"version": "fake@0"})
    control.http.put(f"/v1/aliases/student/{alias}-s", json={"version": judge, "expected": "fake@0"})
    answer = gated(control, alias, first, second, evaluation=evaluation, student=f"{alias}-s")
    check_problem(answer, 409, "evaluation_required", "/evaluation")


def test_the_newest_evaluation_by_the_student_is_found_behind_newer_ones_by_others(
    control: Control, alias: str
) -> None:
    before, after = control.version(f"{alias}-v", seed=3), control.version(f"{alias}-v", seed=4)
    judge = control.version(f"{alias}-judge", role="student", seed=5)
    control.http.put(f"/v1/aliases/teacher/{alias}-w", json={"version": before})
    control.evaluation(before=before, after=after, gain=0.5)
    control.evaluation(before=before, after=after, gain=0.5, student=judge)
    assert gated(control, f"{alias}-w", before, after).status_code == 200


@pytest.mark.parametrize(
    ("student", "status", "code"), [("nobody", 404, "model_not_found"), ("", 422, "invalid_request")]
)
def test_a_student_that_is_not_there_judges_nothing(
    control: Control, alias: str, first: str, second: str, student: str, status: int, code: str
) -> None:
    check_problem(gated(control, alias, first, second, student=student), status, code, "/student")


def test_a_student_of_another_format_judges_nothing(control: Control, alias: str, first: str, second: str) -> None:
    foreign = control.version(f"{alias}-abroad", role="student", format="r1@1")
    control.evaluation(before=first, after=second, gain=0.5, student=foreign)
    check_problem(gated(control, alias, first, second, student=foreign), 422, "invalid_request", "/student")


def test_what_serves_in_another_format_cannot_be_compared_with(control: Control, alias: str, second: str) -> None:
    foreign = control.version(f"{alias}-abroad", format="r1@1")
    control.services.registry.move_alias("teacher", f"{alias}-r1", foreign, expected=None, reason="an older server's")
    control.evaluation(before=foreign, after=second, gain=0.5)
    body = check_problem(gated(control, f"{alias}-r1", foreign, second), 409, "evaluation_required", "/evaluation")
    assert "r1@1" in body["detail"]
