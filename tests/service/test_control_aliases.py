"""Aliases: moved by compare-and-swap, behind a gate and a probe; whatever fails leaves the old version serving."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rlt_core.errors import EvaluationRequiredError
from rlt_core.schemas.teachers import AliasPut
from rlt_service.control.gate import Gate
from tests.support.control import Control, check_problem, control_app


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), database_url=module_database_url) as made:
        yield made


@pytest.fixture(scope="module")
def first(control: Control) -> str:
    return control.version("algebra", seed=1)


@pytest.fixture(scope="module")
def second(control: Control, first: str) -> str:
    return control.version("algebra", seed=2)


@pytest.fixture
def alias(control: Control, first: str, request: pytest.FixtureRequest) -> str:
    """Make a teacher alias of the test's own, which points at the first version."""
    name = f"alias-{abs(hash(request.node.name)):x}"
    answer = put(control, name, version=first, expected=None)
    assert answer.status_code == 200, answer.text
    return name


def put(control: Control, name: str, *, role: str = "teacher", **fields: Any) -> Any:
    return control.http.put(f"/v1/aliases/{role}/{name}", json=fields)


def roll_back(control: Control, name: str, *, role: str = "teacher", **fields: Any) -> Any:
    return control.http.post(f"/v1/aliases/{role}/{name}/rollback", json=fields)


def history(control: Control, name: str) -> list[dict[str, Any]]:
    return control.http.get(f"/v1/aliases/teacher/{name}/history").json()["data"]


def test_a_fresh_install_serves_the_base_in_both_roles(control: Control) -> None:
    found = {
        (alias["role"], alias["alias"]): alias["version"] for alias in control.http.get("/v1/aliases").json()["data"]
    }
    assert found["teacher", "default"] == found["student", "default"] == "fake@0"


def test_an_alias_is_made_moved_and_remembers_its_moves(control: Control, alias: str, first: str, second: str) -> None:
    moved = put(control, alias, version=second, expected=first, reason="better", by="maria")
    assert (moved.status_code, moved.json()["version"]) == (200, second)
    told = ("previous", "version", "reason", "by")
    assert [tuple(move[name] for name in told) for move in history(control, alias)] == [
        (first, second, "better", "maria"),
        (None, first, "asked for, without a gate", "api"),
    ]
    page = control.http.get(f"/v1/aliases/teacher/{alias}/history?limit=1").json()
    rest = control.http.get(f"/v1/aliases/teacher/{alias}/history?limit=1&after={page['last_id']}").json()
    assert [move["version"] for move in rest["data"]] == [first]


def test_a_name_stands_for_its_newest_version_and_an_alias_for_what_it_points_at(
    control: Control, alias: str, first: str, second: str
) -> None:
    assert put(control, alias, version="algebra", expected=first).json()["version"] == second
    assert put(control, f"{alias}-2", version=alias).json()["version"] == second


def test_requests_go_to_the_version_that_an_alias_points_at(
    control: Control, alias: str, first: str, second: str
) -> None:
    for version, expected in ((second, first), (first, second)):
        put(control, alias, version=version, expected=expected)
        answer = control.http.post("/v1/explain", json={"question": "1+1?", "solution": "2", "teacher": alias})
        assert (answer.status_code, answer.json()["teacher"]["version"]) == (200, version)


@pytest.mark.parametrize("expected", [None, "algebra@2", "", "nonsense"])
def test_a_wrong_expectation_is_refused_saying_what_it_points_at(
    control: Control, alias: str, first: str, second: str, expected: str | None
) -> None:
    body = check_problem(put(control, alias, version=second, expected=expected), 409, "alias_moved", "/expected")
    assert first in body["detail"]
    assert control.alias("teacher", alias) == first


def test_a_new_alias_expects_nothing(control: Control, first: str) -> None:
    check_problem(put(control, "never-made", version=first, expected=first), 409, "alias_moved", "/expected")


def test_of_two_moves_at_once_one_wins(control: Control, alias: str, first: str, second: str) -> None:
    start = threading.Barrier(8)
    answers: list[Any] = []

    def move(version: str) -> None:
        start.wait()
        answers.append(put(control, alias, version=version, expected=first))

    threads = [threading.Thread(target=move, args=[version]) for version in (second, "fake@0") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [answer.json()["version"] for answer in answers if answer.status_code == 200]
    lost = [answer.json()["code"] for answer in answers if answer.status_code != 200]
    assert (len(won), lost) == (1, ["alias_moved"] * 7)
    assert control.alias("teacher", alias) == won[0]
    assert len(history(control, alias)) == 2


def test_of_two_promotions_at_once_one_wins_round_after_round(control: Control, first: str, second: str) -> None:
    rounds = 40
    put(control, "contested", version="fake@0")
    for number in range(rounds):
        present = control.alias("teacher", "contested")
        rivals = [version for version in (first, second, "fake@0") if version != present]
        start = threading.Barrier(2)
        answers: list[Any] = []

        def promote(version: str, *, start: threading.Barrier, expected: str, answers: list[Any]) -> None:
            start.wait()
            answers.append(put(control, "contested", version=version, expected=expected))

        facts = {"start": start, "expected": present, "answers": answers}
        threads = [threading.Thread(target=promote, args=[rival], kwargs=facts) for rival in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        by_status = {answer.status_code: answer.json() for answer in answers}
        assert set(by_status) == {200, 409}, number
        assert by_status[409]["code"] == "alias_moved"
        assert by_status[200]["version"] == control.alias("teacher", "contested")
    page = control.http.get("/v1/aliases/teacher/contested/history?limit=100").json()["data"]
    assert len(page) == rounds + 1
    assert [move["previous"] for move in page[:-1]] == [move["version"] for move in page[1:]]


def test_a_version_shown_to_be_better_passes_the_gate(control: Control, alias: str, first: str, second: str) -> None:
    evaluation = control.evaluation(before=first, after=second, gain=0.01)
    answer = put(control, alias, version=second, expected=first, gate="if_better", evaluation=evaluation)
    assert (answer.status_code, answer.json()["version"]) == (200, second)
    move = history(control, alias)[0]
    assert move["evaluation"] == evaluation
    assert move["reason"].startswith(f"better than {first}: reward +0.0100, 95% interval [+0.0100, +0.0100], n = 30")


@pytest.mark.parametrize("gain", [0.0, -0.05, -1.0])
def test_a_version_not_shown_to_be_better_is_held_back(
    control: Control, alias: str, first: str, second: str, gain: float
) -> None:
    evaluation = control.evaluation(before=first, after=second, gain=gain)
    answer = put(control, alias, version=second, expected=first, gate="if_better", evaluation=evaluation)
    check_problem(answer, 409, "not_better", "/evaluation")
    assert control.alias("teacher", alias) == first


def test_without_a_named_evaluation_the_gate_takes_the_newest_of_the_two(control: Control, alias: str) -> None:
    before, after = control.version("pair", seed=3), control.version("pair", seed=4)
    put(control, f"{alias}-pair", version=before)
    gated = {"version": after, "expected": before, "gate": "if_better"}
    check_problem(put(control, f"{alias}-pair", **gated), 409, "evaluation_required", "/evaluation")
    control.evaluation(before=before, after=after, gain=0.5)
    control.evaluation(before=before, after=after, gain=-0.5)
    check_problem(put(control, f"{alias}-pair", **gated), 409, "not_better", "/evaluation")
    control.evaluation(before=before, after=after, gain=0.5)
    assert put(control, f"{alias}-pair", **gated).status_code == 200


def test_an_evaluation_of_other_versions_or_another_format_does_not_open_the_gate(
    control: Control, alias: str, first: str, second: str
) -> None:
    others = [
        control.evaluation(before=second, after=first, gain=0.5),
        control.evaluation(before="fake@0", after=second, gain=0.5),
        control.evaluation(before=first, after="fake@0", gain=0.5),
        control.evaluation(before=first, after=second, gain=0.5, format_id="r1@1"),
    ]
    for evaluation in others:
        answer = put(control, alias, version=second, expected=first, gate="if_better", evaluation=evaluation)
        check_problem(answer, 409, "evaluation_required", "/evaluation")
    assert control.alias("teacher", alias) == first


def test_rewards_of_the_fake_engine_open_no_gate_for_a_real_one(control: Control, first: str, second: str) -> None:
    registry, after = control.services.registry, control.services.registry.resolve("teacher", second)
    wanted = AliasPut(version=second, expected=first, gate="if_better", student="fake@0")
    for engine, opens in (("fake", False), ("vllm", True)):
        evaluation = control.evaluation(before=first, after=second, gain=0.5, engine=engine)
        assert control.http.get(f"/v1/evaluations/{evaluation}").json()["engine"] == engine
        request = wanted.model_copy(update={"evaluation": evaluation})
        with contextlib.nullcontext() if opens else pytest.raises(EvaluationRequiredError, match="fake engine"):
            assert Gate(registry=registry, engine="vllm").check(request, after=after).evaluation == evaluation
        assert Gate(registry=registry, engine="fake").check(request, after=after).evaluation == evaluation


def test_a_new_alias_has_nothing_to_be_better_than(control: Control, first: str) -> None:
    check_problem(put(control, "gated-new", version=first, gate="if_better"), 409, "evaluation_required", "/gate")


def test_a_version_that_fails_its_probe_is_refused_and_the_old_one_serves(
    control: Control, alias: str, first: str
) -> None:
    spoilt = control.version(f"{alias}-spoilt")
    files = control.services.registry.resolve("teacher", spoilt).adapter
    assert files is not None
    weights = files.path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\xc0\x7f")
    answer = put(control, alias, version=spoilt, expected=first)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_adapter")
    assert control.alias("teacher", alias) == first
    assert len(history(control, alias)) == 1


def test_a_wrong_expectation_is_told_before_a_probe_is_spent(control: Control, alias: str) -> None:
    spoilt = control.version(f"{alias}-spoilt")
    files = control.services.registry.resolve("teacher", spoilt).adapter
    assert files is not None
    (files.path / "adapter_config.json").unlink()
    check_problem(put(control, alias, version=spoilt, expected="other@1"), 409, "alias_moved", "/expected")


def test_a_version_of_another_base_or_format_cannot_serve_here(control: Control) -> None:
    for version in (control.version("foreign", base_model="other"), control.version("foreign", format="r1@1")):
        check_problem(put(control, "abroad", version=version), 422, "invalid_request", "/version")


def test_rollback_goes_to_the_version_before_or_to_a_named_one(
    control: Control, alias: str, first: str, second: str
) -> None:
    put(control, alias, version=second, expected=first)
    assert roll_back(control, alias, expected=second).json()["version"] == first
    assert history(control, alias)[0]["reason"] == f"rolled back from {second}"
    assert roll_back(control, alias, expected=first, to="fake@0").json()["version"] == "fake@0"
    assert roll_back(control, alias, expected="fake@0").json()["version"] == first


def test_an_alias_that_never_moved_has_no_version_before(control: Control, alias: str, first: str) -> None:
    check_problem(roll_back(control, alias, expected=first), 409, "conflict", "/to")


def test_a_rollback_with_a_wrong_expectation_is_refused(control: Control, alias: str, first: str) -> None:
    for to in ("fake@0", None):
        check_problem(roll_back(control, alias, expected="fake@0", to=to), 409, "alias_moved", "/expected")
    assert control.alias("teacher", alias) == first


def test_an_attempt_moves_an_alias_while_its_job_is_its_own_and_no_longer(
    control: Control, alias: str, first: str, second: str
) -> None:
    job = control.running_job()
    asker = {"job": job.id, "attempt": job.attempt}
    moved = put(control, alias, version=second, expected=first, by=job.id, attempt_of=asker)
    assert moved.status_code == 200, moved.text
    assert roll_back(control, alias, expected=second).status_code == 200
    control.services.jobs.finish(job.id, job.attempt, "cancelled")
    late = put(control, alias, version=second, expected=first, by=job.id, attempt_of=asker)
    check_problem(late, 409, "stale_attempt")
    other = put(control, alias, version=second, expected=first, attempt_of={"job": "job_" + "0" * 16, "attempt": 1})
    check_problem(other, 404, "not_found")
    assert control.alias("teacher", alias) == first
