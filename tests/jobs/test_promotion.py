import json
from collections.abc import Callable

import httpx
import pytest

from rlt_core.schemas.jobs import PromotePolicy
from rlt_core.schemas.teachers import JobAttempt
from rlt_service.jobs.promotion import Interrupted, Promoter

ASKER = JobAttempt(job="job_" + "a" * 16, attempt=2)
ALWAYS = PromotePolicy(alias="default", when="always")


def promoter(handler: Callable[[httpx.Request], httpx.Response], *, keep_on: bool = True) -> Promoter:
    return Promoter(
        base_url="http://service.test",
        keep_on=lambda: keep_on,
        transport=httpx.MockTransport(handler),
        sleep=lambda _: None,
    )


def serving(version: str | None) -> httpx.Response:
    aliases = [{"role": "student", "alias": "default", "version": "other@1"}]
    if version is not None:
        aliases.append({"role": "teacher", "alias": "default", "version": version})
    return httpx.Response(200, json={"object": "list", "data": aliases})


def test_an_engine_that_is_away_is_waited_for() -> None:
    answers = [
        httpx.Response(503, json={"detail": "starting"}),
        serving("a@1"),
        httpx.Response(503),
        httpx.Response(200),
    ]
    result = promoter(lambda _: answers.pop(0)).promote(
        ALWAYS, version="a@2", evaluation=None, student="s@1", asker=ASKER
    )
    assert (result.outcome, result.previous, answers) == ("promoted", "a@1", [])


def test_the_wait_ends_when_the_worker_drains() -> None:
    def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Interrupted):
        promoter(away, keep_on=False).promote(ALWAYS, version="a@2", evaluation=None, student="s@1", asker=ASKER)


def test_what_already_serves_is_promoted_without_asking() -> None:
    answers = [serving("a@2")]
    result = promoter(lambda _: answers.pop(0)).promote(
        ALWAYS, version="a@2", evaluation=None, student="s@1", asker=ASKER
    )
    assert result.outcome == "promoted"


def test_a_new_alias_needs_no_gate() -> None:
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return serving(None) if request.method == "GET" else httpx.Response(200)

    policy = PromotePolicy(alias="default", when="if_better")
    result = promoter(answer).promote(policy, version="a@2", evaluation=None, student="s@1", asker=ASKER)
    assert result.outcome == "promoted"
    assert b'"gate":"none"' in bodies[1]
    assert b'"expected":null' in bodies[1]
    assert b'"student":"s@1"' in bodies[1]


def test_the_gate_s_own_reason_is_left_to_the_history() -> None:
    bodies: list[dict[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return serving("a@1")
        bodies.append(json.loads(request.content))
        return httpx.Response(200)

    policy = PromotePolicy(alias="default", when="if_better")
    result = promoter(answer).promote(policy, version="a@2", evaluation=None, student="s@0", asker=ASKER)
    assert (bodies[0]["gate"], bodies[0]["reason"], bodies[0]["by"]) == ("if_better", None, ASKER.job)
    assert (result.outcome, result.reason) == ("promoted", "the gate found it better than a@1")
    promoter(answer).promote(ALWAYS, version="a@2", evaluation=None, student="s@0", asker=ASKER)
    assert (bodies[1]["gate"], bodies[1]["reason"]) == ("none", f"job {ASKER.job}, promote.when = always")


@pytest.mark.parametrize("status", [404, 409, 422, 500])
def test_any_other_answer_is_a_refusal_with_the_services_words(status: int) -> None:
    answers = [serving("a@1"), httpx.Response(status, json={"detail": "because"}), serving("a@1")]
    result = promoter(lambda _: answers.pop(0)).promote(
        ALWAYS, version="a@2", evaluation=None, student="s@1", asker=ASKER
    )
    assert (result.outcome, result.reason, result.previous) == ("refused", "because", "a@1")


def test_a_move_whose_answer_was_lost_counts_although_the_second_try_is_refused() -> None:
    served = ["a@1"]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return serving(served[0])
        if served[0] == "a@2":
            return httpx.Response(409, json={"detail": "the alias points at a@2"})
        served[0] = "a@2"
        raise httpx.ReadError("the server was killed")

    result = promoter(answer).promote(ALWAYS, version="a@2", evaluation=None, student="s@1", asker=ASKER)
    assert (result.outcome, result.previous) == ("promoted", "a@1")


def test_an_alias_that_cannot_be_read_is_not_taken_for_a_new_one() -> None:
    answers = [httpx.Response(500, json={"detail": "broken"})]
    result = promoter(lambda _: answers.pop(0)).promote(
        ALWAYS, version="a@2", evaluation=None, student="s@1", asker=ASKER
    )
    assert (result.outcome, result.reason) == ("refused", "broken")


def test_of_several_addresses_another_is_asked_where_one_is_away() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "one.test":
            raise httpx.ConnectError("refused")
        return serving("a@1") if request.method == "GET" else httpx.Response(200)

    for _ in range(20):
        made = Promoter(
            base_url="teacher+control=http://one.test,teacher+control=http://two.test,student=http://three.test",
            keep_on=lambda: True,
            transport=httpx.MockTransport(answer),
            sleep=lambda _: None,
        )
        result = made.promote(ALWAYS, version="a@2", evaluation=None, student="s@1", asker=ASKER)
        assert result.outcome == "promoted"
    assert set(asked) == {"one.test", "two.test"}
    assert asked.count("one.test") <= 20, "one that failed is left alone"
