import asyncio
import random
from typing import Any

import pytest

from rlt_core.errors import EngineUnavailableError
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse, Explanation
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_service.engine.fair_queue import Flow
from rlt_service.engine.fake_engine import FakeEngine
from rlt_service.engine.gate import current_flow, one_flow
from rlt_service.in_hand import InHand
from rlt_service.served import ServedVersion
from rlt_service.store.resolution import ShadowPlan
from rlt_service.teacher import shadow as shadow_module
from rlt_service.teacher.generation import Generation
from rlt_service.teacher.shadow import ShadowTraffic
from tests.support.shadows import Kept

SHOWN = Explanation(index=0, text="t", finish_reason="stop", well_formed=True)


class Away:
    """Both services, when nobody answers; what was asked is remembered."""

    def __init__(self) -> None:
        self.asked: list[ExplainRequest] = []
        self.flows: list[Flow] = []

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        self.asked.append(request)
        self.flows.append(current_flow())
        raise EngineUnavailableError("away")

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        raise EngineUnavailableError("away")


def work(*, share: float, question: str = "q", **fields: object) -> Generation:
    plan = ShadowPlan(alias="default", version="algebra@1", share=share, max_in_flight=64, student="default")
    request = ExplainRequest.model_validate({"question": question, "solution": "s", **fields})
    teacher = ServedVersion(version="tiny@0", base_model="tiny", adapter=None, shadow=plan)
    return Generation(request=request, teacher=teacher, engine=FakeEngine(), prompt=())


async def offer_all(generations: list[Generation], *, shown: Explanation = SHOWN) -> list[ExplainRequest]:
    """Offer each; return what the candidate was asked."""
    kept = Kept()
    traffic = ShadowTraffic(kept, in_hand=InHand(max_requests=8, max_tokens=800), dice=random.Random(7))
    away = Away()
    traffic.start()
    for generation in generations:
        traffic.offer(generation, [shown], explainer=away, scorer=away)
        await asyncio.sleep(0)
    await traffic.stop()
    assert [outcome.fate for outcome in kept.outcomes] == ["failed"] * len(away.asked)
    return away.asked


async def test_a_candidate_takes_turns_of_its_own_not_of_the_caller() -> None:
    traffic, away = ShadowTraffic(Kept(), in_hand=InHand(max_requests=8, max_tokens=800)), Away()
    traffic.start()
    with one_flow():
        caller = current_flow()
        traffic.offer(work(share=1.0), [SHOWN], explainer=away, scorer=away)
        await asyncio.sleep(0)
    await traffic.stop()
    [flow] = away.flows
    assert flow is not caller


async def test_a_full_disk_costs_outcomes_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_module, "WRITE_EVERY_S", 0.05)
    kept, away = Kept(full=1), Away()
    traffic = ShadowTraffic(kept, in_hand=InHand(max_requests=8, max_tokens=800))
    traffic.start()
    traffic.offer(work(share=1.0), [SHOWN], explainer=away, scorer=away)
    await asyncio.sleep(2 * shadow_module.WRITE_EVERY_S)
    assert kept.outcomes == []
    traffic.offer(work(share=1.0), [SHOWN], explainer=away, scorer=away)
    await asyncio.sleep(2 * shadow_module.WRITE_EVERY_S)
    assert [outcome.fate for outcome in kept.outcomes] == ["failed"]
    await traffic.stop()


async def test_nothing_is_taken_before_the_start_or_after_the_end() -> None:
    kept, away = Kept(), Away()
    traffic = ShadowTraffic(kept, in_hand=InHand(max_requests=8, max_tokens=800))
    traffic.offer(work(share=1.0), [SHOWN], explainer=away, scorer=away)
    traffic.start()
    await traffic.stop()
    traffic.offer(work(share=1.0), [SHOWN], explainer=away, scorer=away)
    await asyncio.sleep(0)
    assert (away.asked, kept.outcomes) == ([], [])


async def test_the_share_is_what_is_drawn() -> None:
    dice = random.Random(7)
    expected = [number for number in range(500) if dice.random() < 0.1]
    asked = await offer_all([work(share=0.1, question=str(number)) for number in range(500)])
    assert [int(request.question) for request in asked] == expected
    assert 30 < len(expected) < 70


async def test_the_candidate_is_asked_what_the_caller_asked_once_by_its_exact_name() -> None:
    fields = {"n": 4, "temperature": 0.3, "max_tokens": 33, "seed": 5, "teacher": "default", "stream": True}
    [asked] = await offer_all([work(share=1.0, **fields)])
    assert (asked.teacher, asked.n, asked.stream, asked.include) == ("algebra@1", 1, False, ["tokens"])
    assert (asked.question, asked.solution) == ("q", "s")
    assert (asked.temperature, asked.max_tokens, asked.seed, asked.top_p) == (0.3, 33, 5, 1.0)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [({"top_p": 0.9}, SHOWN), ({"top_k": 8}, SHOWN), ({}, SHOWN.model_copy(update={"finish_reason": "abort"}))],
)
async def test_what_cannot_be_compared_is_not_drawn(fields: dict[str, Any], shown: Explanation) -> None:
    assert await offer_all([work(share=1.0, **fields)], shown=shown) == []
