"""Shadows: a candidate answers a sample of live traffic, unseen and within bounds; its pairs become an evaluation.

By the fake engine's rule a version's log-probs rise with its number, and with them its divergence from the student: of
one name the earlier version has the better reward.
"""

import asyncio
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rlt_core.errors import EngineUnavailableError
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import GenerateRequest, GenerateResult
from rlt_service.in_hand import Load
from rlt_service.teacher import shadow as traffic
from tests.support.control import Control, check_problem
from tests.support.service import running_app, services_of
from tests.support.waiting import wait_until

SHADOW = "/v1/aliases/teacher/default/shadow"
CANDIDATE, SERVED = "algebra@1", "algebra@8"


class Watched(FakeEngine):
    """An engine on which the candidate takes its time or breaks, and that tells what it did."""

    def __init__(self, *, candidate_takes_s: float = 0.0, fault: Exception | None = None) -> None:
        super().__init__(FakeOptions(base_name="fake"))
        self._takes_s = candidate_takes_s
        self._fault = fault
        self.at_once = 0
        self.most_at_once = 0
        self.cancelled = 0

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        if request.adapter is None or request.adapter.version != CANDIDATE:
            return await super().generate(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self._takes_s)
            if self._fault is not None:
                raise self._fault
            return await super().generate(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1


@contextmanager
def serving(home: Path, *, engine: Watched | None = None, **settings: Any) -> Generator[Control]:
    """Start an app whose default teacher is the served version, with eight versions to choose from."""
    with running_app(home, engine=engine, **settings) as client:
        control = Control(http=client, services=services_of(client))
        for seed in range(8):
            control.version("algebra", seed=seed)
        move(control, SERVED, expected="fake@0")
        yield control


@pytest.fixture(autouse=True)
def _writes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "WRITE_EVERY_S", 0.02)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with serving(tmp_path) as made:
        yield made


def move(control: Control, version: str, *, expected: str, **fields: Any) -> Any:
    body = {"version": version, "expected": expected, **fields}
    answer = control.http.put("/v1/aliases/teacher/default", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def shadow(control: Control, **fields: Any) -> dict[str, Any]:
    answer = control.http.put(SHADOW, json={"version": CANDIDATE, "share": 1.0, "max_in_flight": 64, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(control: Control, question: str = "1 + 1?", **fields: Any) -> dict[str, Any]:
    body = {"question": question, "solution": "It is 2.", "seed": 1, **fields}
    answer = control.http.post("/v1/explain", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def state(control: Control) -> dict[str, Any]:
    return control.http.get(SHADOW).json()


def wait_for(control: Control, **counts: int) -> dict[str, Any]:
    """Wait until the shadow's counts are at least these."""
    wait_until(
        lambda: all(state(control)["counts"][name] >= count for name, count in counts.items()), what=f"{counts} counted"
    )
    return state(control)


def test_callers_get_what_they_would_get_without_a_shadow(control: Control) -> None:
    questions = [f"{number} + 1?" for number in range(6)]
    without = [ask(control, question, include=["tokens"]) for question in questions]
    shadow(control)
    beside = [ask(control, question, include=["tokens"]) for question in questions]
    assert [answer["teacher"]["version"] for answer in beside] == [SERVED] * 6
    assert [answer["explanations"] for answer in beside] == [answer["explanations"] for answer in without]
    found = wait_for(control, answered=6)
    assert found["counts"] == {"sampled": 6, "answered": 6, "skipped": 0, "failed": 0}
    assert (found["version"], found["served"], found["pairs"]) == (CANDIDATE, SERVED, 6)


def test_what_live_traffic_showed_is_an_evaluation_that_a_promotion_rests_on(control: Control) -> None:
    shadow(control)
    for number in range(5):
        ask(control, f"{number} + 1?")
    wait_for(control, answered=5)
    answer = control.http.post(f"{SHADOW}/evaluation")
    assert answer.status_code == 201, answer.text
    evaluation = answer.json()
    assert control.http.get(answer.headers["location"]).json() == evaluation
    facts = ("before", "after", "student", "source", "job", "format")
    assert [evaluation[name] for name in facts] == [SERVED, CANDIDATE, "fake@0", "shadow", None, "stratos@1"]
    assert evaluation["engine"] == "fake"
    assert evaluation["difference"]["n"] == 5
    assert evaluation["difference"]["ci_low"] > 0
    rows = control.http.get(f"/v1/evaluations/{evaluation['id']}/rows").json()["data"]
    assert [row["version"] for row in rows] == [SERVED] * 5 + [CANDIDATE] * 5
    assert [row["question"] for row in rows[:5]] == [row["question"] for row in rows[5:]]
    assert all(row["closed"] and row["length"] > 0 and row["r_kl"] != 0.0 for row in rows)
    move(control, CANDIDATE, expected=SERVED, gate="if_better")
    last = control.http.get("/v1/aliases/teacher/default/history").json()["data"][0]
    assert last["evaluation"] == evaluation["id"]
    assert ask(control)["teacher"]["version"] == CANDIDATE
    check_problem(control.http.get(SHADOW), 404, "not_found", "/alias")


def test_a_worse_candidate_is_held_back_by_its_evaluation(control: Control) -> None:
    move(control, CANDIDATE, expected=SERVED)
    shadow(control, version=SERVED)
    for number in range(3):
        ask(control, f"{number} + 1?")
    wait_for(control, answered=3)
    evaluation = control.http.post(f"{SHADOW}/evaluation").json()
    body = {"version": SERVED, "expected": CANDIDATE, "gate": "if_better", "evaluation": evaluation["id"]}
    check_problem(control.http.put("/v1/aliases/teacher/default", json=body), 409, "not_better", "/evaluation")
    assert control.alias("teacher", "default") == CANDIDATE


def test_a_question_that_is_asked_often_counts_once(control: Control) -> None:
    shadow(control)
    for seed in range(3):
        ask(control, "1 + 1?", seed=seed)
    wait_for(control, answered=3)
    body = check_problem(control.http.post(f"{SHADOW}/evaluation"), 409, "conflict", "/alias")
    assert "1 questions" in body["detail"]
    ask(control, "2 + 2?")
    wait_for(control, answered=4)
    evaluation = control.http.post(f"{SHADOW}/evaluation").json()
    assert evaluation["difference"]["n"] == 2
    rows = control.http.get(f"/v1/evaluations/{evaluation['id']}/rows").json()["data"]
    assert len(rows) == 8
    often = [row["reward"] for row in rows if row["version"] == SERVED and row["question"] == "1 + 1?"]
    once = [row["reward"] for row in rows if row["version"] == SERVED and row["question"] == "2 + 2?"]
    assert evaluation["metrics"][SERVED]["reward"] == pytest.approx((sum(often) / 3 + once[0]) / 2)


def test_an_evaluation_needs_two_questions(control: Control) -> None:
    shadow(control)
    check_problem(control.http.post(f"{SHADOW}/evaluation"), 409, "conflict", "/alias")


def test_every_way_of_asking_the_alias_is_drawn_from_and_no_other(control: Control) -> None:
    shadow(control)
    ask(control, n=3)
    item = {"question": "3 + 3?", "solution": "6"}
    assert control.http.post("/v1/explain/batch", json={"items": [item, item]}).status_code == 200
    assert control.http.post("/v1/explain", json={**item, "stream": True}).status_code == 200
    wait_for(control, answered=4)
    others: list[dict[str, Any]]
    others = [{"teacher": SERVED}, {"teacher": "algebra"}, {"top_p": 0.9}]
    for other in others:
        ask(control, **other)
    ask(control)
    assert wait_for(control, answered=5)["counts"]["sampled"] == 5


def test_the_candidate_has_no_more_in_flight_than_it_may(tmp_path: Path) -> None:
    engine = Watched(candidate_takes_s=1.0)
    with serving(tmp_path, engine=engine) as control:
        shadow(control, max_in_flight=2)
        began_s = time.monotonic()
        in_parallel(8, lambda number: ask(control, f"{number} + 1?"))
        assert time.monotonic() - began_s < 8.0
        counts = wait_for(control, answered=2, skipped=6)["counts"]
        assert counts == {"sampled": 8, "answered": 2, "skipped": 6, "failed": 0}
        assert engine.most_at_once == 2
        ask(control)
        wait_for(control, answered=3)


def in_parallel(count: int, work: Any) -> None:
    threads = [threading.Thread(target=work, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_nothing_is_sampled_while_the_service_is_busy(tmp_path: Path) -> None:
    with serving(tmp_path, max_queued_requests=8) as control:
        shadow(control)
        with control.services.in_hand.taken(Load(requests=3, tokens=1)):
            ask(control)
        assert wait_for(control, skipped=1)["counts"]["answered"] == 0
        ask(control)
        wait_for(control, answered=1)


@pytest.mark.parametrize("fault", [EngineUnavailableError("the engine is away"), RuntimeError("broken")])
def test_a_candidate_that_fails_is_counted_and_callers_hear_nothing(tmp_path: Path, fault: Exception) -> None:
    with serving(tmp_path, engine=Watched(fault=fault)) as control:
        shadow(control)
        for _ in range(3):
            assert ask(control)["teacher"]["version"] == SERVED
        found = wait_for(control, failed=3)
        assert (found["counts"]["sampled"], found["pairs"]) == (3, 0)


def test_the_candidates_work_ends_with_the_app_and_what_is_done_is_kept(tmp_path: Path) -> None:
    engine = Watched(candidate_takes_s=60.0)
    with serving(tmp_path, engine=engine) as control:
        shadow(control, max_in_flight=1)
        ask(control)
        wait_until(lambda: engine.at_once == 1, what="the candidate is at work")
        ask(control)
        ending_s = time.monotonic()
    assert time.monotonic() - ending_s < 20.0
    assert (engine.cancelled, engine.at_once) == (1, 0)
    with running_app(tmp_path) as client:
        assert client.get(SHADOW).json()["counts"] == {"sampled": 1, "answered": 0, "skipped": 1, "failed": 0}


def test_pairs_of_what_was_served_before_do_not_count_for_what_is_served_now(control: Control) -> None:
    shadow(control)
    for number in range(3):
        ask(control, f"{number} + 1?")
    assert wait_for(control, answered=3)["pairs"] == 3
    move(control, "algebra@7", expected=SERVED)
    assert (state(control)["served"], state(control)["pairs"]) == ("algebra@7", 0)
    check_problem(control.http.post(f"{SHADOW}/evaluation"), 409, "conflict", "/alias")
    for number in range(2):
        ask(control, f"{number} + 1?")
    assert wait_for(control, answered=5)["pairs"] == 2
    evaluation = control.http.post(f"{SHADOW}/evaluation").json()
    assert (evaluation["before"], evaluation["difference"]["n"]) == ("algebra@7", 2)


def test_pairs_that_another_student_judged_do_not_count(control: Control) -> None:
    judge = control.version("judge", role="student")
    shadow(control)
    ask(control)
    assert wait_for(control, answered=1)["pairs"] == 1
    control.http.put("/v1/aliases/student/default", json={"version": judge, "expected": "fake@0"})
    assert state(control)["pairs"] == 0
    for number in range(2):
        ask(control, f"{number} + 1?")
    assert wait_for(control, answered=3)["pairs"] == 2
    assert control.http.post(f"{SHADOW}/evaluation").json()["student"] == judge


def test_only_the_newest_pairs_are_kept(tmp_path: Path) -> None:
    with serving(tmp_path, max_shadow_pairs=3) as control:
        shadow(control)
        for number in range(5):
            ask(control, f"{number} + 1?")
            wait_for(control, answered=number + 1)
        assert state(control)["pairs"] == 3
        evaluation = control.http.post(f"{SHADOW}/evaluation").json()
        rows = control.http.get(f"/v1/evaluations/{evaluation['id']}/rows").json()["data"]
        assert [row["question"] for row in rows[:3]] == ["2 + 1?", "3 + 1?", "4 + 1?"]


def test_the_same_candidate_goes_on_and_another_begins_anew(control: Control) -> None:
    shadow(control)
    ask(control)
    wait_for(control, answered=1)
    changed = shadow(control, share=0.5)
    assert (changed["share"], changed["counts"]["answered"], changed["pairs"]) == (0.5, 1, 1)
    other = shadow(control, version="algebra@2")
    assert (other["counts"]["sampled"], other["pairs"]) == (0, 0)
    assert shadow(control)["pairs"] == 0


def test_an_ended_shadow_answers_nothing_more_and_forgets(control: Control) -> None:
    shadow(control)
    ask(control)
    wait_for(control, answered=1)
    ended = {"role": "teacher", "alias": "default", "object": "shadow.deleted", "deleted": True}
    assert control.http.delete(SHADOW).json() == ended
    ask(control)
    for answer in (control.http.get(SHADOW), control.http.delete(SHADOW), control.http.post(f"{SHADOW}/evaluation")):
        check_problem(answer, 404, "not_found", "/alias")
    assert shadow(control)["pairs"] == 0


def test_two_processes_on_one_database_add_up(tmp_path: Path) -> None:
    with serving(tmp_path) as one, running_app(tmp_path) as client:
        other = Control(http=client, services=services_of(client))
        shadow(one)
        for control in (one, other):
            ask(control, "1 + 1?")
            ask(control, "2 + 2?")
        assert wait_for(one, answered=4)["pairs"] == 4


def test_what_a_shadow_needs_cannot_be_deleted(control: Control) -> None:
    judge = control.version("judge", role="student")
    shadow(control, student="judge")
    for version, why in ((CANDIDATE, "it is the shadow of"), (judge, "it judges the shadow of")):
        answer = control.http.delete(f"/v1/teachers/{version.replace('@', '/versions/')}")
        assert why in check_problem(answer, 409, "version_in_use")["detail"]
    control.http.delete(SHADOW)
    for version in (CANDIDATE, judge):
        assert control.http.delete(f"/v1/teachers/{version.replace('@', '/versions/')}").status_code == 200


BAD: Sequence[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("student/default", {}, 422, "invalid_request", "/role"),
    ("tutor/default", {}, 404, "not_found", None),
    ("teacher/nobody", {}, 404, "not_found", "/alias"),
    ("teacher/N", {}, 404, "not_found", None),
    ("teacher/default", {"version": SERVED}, 409, "conflict", "/version"),
    ("teacher/default", {"version": "default"}, 409, "conflict", "/version"),
    ("teacher/default", {"version": "algebra@9"}, 404, "model_not_found", "/version"),
    ("teacher/default", {"version": "job_0123456789abcdef.1@3"}, 422, "invalid_request", "/version"),
    ("teacher/default", {"version": "abroad@1"}, 422, "invalid_request", "/version"),
    ("teacher/default", {"version": "abroad@2"}, 422, "invalid_request", "/version"),
    ("teacher/default", {"version": "spoilt@1"}, 422, "invalid_adapter", None),
    ("teacher/default", {"version": ""}, 422, "invalid_request", "/version"),
    ("teacher/default", {"share": 0}, 422, "invalid_request", "/share"),
    ("teacher/default", {"share": 1.01}, 422, "invalid_request", "/share"),
    ("teacher/default", {"max_in_flight": 0}, 422, "invalid_request", "/max_in_flight"),
    ("teacher/default", {"max_in_flight": 65}, 422, "invalid_request", "/max_in_flight"),
    ("teacher/default", {"student": "nobody"}, 404, "model_not_found", "/student"),
    ("teacher/default", {"student": "abroad@1"}, 422, "invalid_request", "/student"),
    ("teacher/default", {"part": 0.5}, 422, "unknown_field", "/part"),
]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with serving(tmp_path_factory.mktemp("home")) as made:
        made.version("abroad", base_model="other")
        made.version("abroad", format="r1@1")
        spoilt = made.services.registry.resolve("teacher", made.version("spoilt")).adapter
        assert spoilt is not None
        (spoilt.path / "adapter_config.json").write_text("{}")
        yield made


@pytest.mark.parametrize(("path", "fields", "status", "code", "param"), BAD)
def test_a_shadow_that_cannot_be_is_refused(
    refusing: Control, path: str, fields: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    answer = refusing.http.put(f"/v1/aliases/{path}/shadow", json={"version": CANDIDATE, **fields})
    check_problem(answer, status, code, param)
    check_problem(refusing.http.get(SHADOW), 404, "not_found", "/alias")


@pytest.mark.parametrize(("method", "rest"), [("get", ""), ("delete", ""), ("post", "/evaluation")])
def test_a_students_alias_has_no_shadow(refusing: Control, method: str, rest: str) -> None:
    answer = refusing.http.request(method, f"/v1/aliases/student/default/shadow{rest}")
    check_problem(answer, 422, "invalid_request", "/role")


def test_a_shadow_has_defaults(refusing: Control) -> None:
    made = refusing.http.put("/v1/aliases/teacher/default/shadow", json={"version": "fake@0"}).json()
    assert (made["share"], made["max_in_flight"], made["student"]) == (0.1, 2, "default")
    refusing.http.delete(SHADOW)
