"""What a training has asked for is counted once, under the names that a collect's and an evaluate's cost have."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rlt_core.schemas.explain import ExplainResponse, ExplainUsage
from rlt_core.schemas.score import ScoreResponse, ScoreUsage
from rlt_core.schemas.solve import SolveResponse
from rlt_train.collecting.answers import Spent
from rlt_train.metering import TOKENS, Meter, MeteredServices

USAGE = ExplainUsage(prompt_tokens=10, completion_tokens=5, cached_tokens=4)


class Answering:
    """Services whose answers hold nothing but what they took."""

    calls_at_once = 4

    def explain(self, requests: Any) -> list[ExplainResponse]:
        return [ExplainResponse.model_construct(usage=USAGE) for _ in requests]

    def solve(self, requests: Any) -> list[SolveResponse]:
        return [SolveResponse.model_construct(usage=USAGE) for _ in requests]

    def score(self, requests: Any) -> list[ScoreResponse]:
        usage = ScoreUsage(prompt_tokens=20, cached_tokens=7)
        return [ScoreResponse.model_construct(usage=usage) for _ in requests]

    def publish(self, *, step: int, sha256: str) -> str:
        return f"{sha256}@{step}"


def test_each_answer_is_counted_by_whichever_thread_it_came_to() -> None:
    meter = Meter()
    services = MeteredServices(Answering(), meter=meter)
    asked: list[Any] = [None, None]
    with ThreadPoolExecutor(max_workers=4) as pool:
        for _ in range(50):
            pool.submit(services.explain, asked)
            pool.submit(services.solve, asked)
            pool.submit(services.score, asked)
    assert meter.tokens == {
        "prompt_tokens": 2000.0,
        "cached_tokens": 800.0,
        "generated_tokens": 1000.0,
        "scored_tokens": 2000.0,
        "scored_cached_tokens": 700.0,
    }
    assert (services.calls_at_once, services.publish(step=3, sha256="a")) == (4, "a@3")


def test_the_names_are_those_of_a_collect() -> None:
    assert set(TOKENS) <= Spent.model_fields.keys()
