import threading
from collections.abc import Callable
from typing import Any

import pytest

from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.score import RewardConfig, ScoreResponse
from rlt_train.errors import RolloutFailedError
from rlt_train.lifeline import StopFlag
from rlt_train.rollouts import Collector, SamplingPlan
from rlt_train.services import PatientServices
from tests.support.patience import Clock

pytestmark = pytest.mark.training


def test_aborted_generation_is_asked_for_again(world: Any, fake_services: Callable[[Any], Any]) -> None:
    job = world.rl()
    inner, clock, aborts = fake_services(job), Clock(), [2]

    def abort_twice(answer: ExplainResponse) -> ExplainResponse:
        if aborts[0] == 0:
            return answer
        aborts[0] -= 1
        cut = answer.explanations[0].model_copy(update={"finish_reason": "abort"})
        return answer.model_copy(update={"explanations": [cut]})

    inner.spoil_explanation = abort_twice
    services = PatientServices(inner, patience=clock.patience(), stop=StopFlag())
    request = ExplainRequest(question="q", solution="s", teacher="tiny@0", max_tokens=2, include=["tokens"])
    assert services.explain([request])[0].explanations[0].finish_reason == "stop"
    assert len(clock.told) == 3
    aborts[0] = 10**6
    with pytest.raises(RolloutFailedError):
        services.explain([request])


def test_an_explanation_is_scored_while_the_next_is_being_written(
    world: Any, fake_services: Callable[[Any], Any], codec: Any
) -> None:
    services, scored = fake_services(world.rl()), threading.Event()
    services.calls_at_once = 2
    services.models["tiny@0"] = services.model("tiny@0")  # before: transformers loads in one thread alone

    def wait_for_the_first_score(answer: ExplainResponse) -> ExplainResponse:
        tokens = answer.explanations[0].tokens
        assert tokens is not None
        if "second" in codec.decode(tokens.prompt_token_ids):
            assert scored.wait(10.0), "the first explanation was not scored while the second was written"
        return answer

    def note(answer: ScoreResponse) -> ScoreResponse:
        scored.set()
        return answer

    services.spoil_explanation, services.spoil_score = wait_for_the_first_score, note
    plan = SamplingPlan(
        samples=3,
        temperature=1.0,
        max_tokens=4,
        seed=1,
        student_versions=("tiny-student@0",),
        reward=RewardConfig(),
        format_id=codec.format_id,
    )
    collector = Collector(services, codec=codec, plan=plan, stop=StopFlag())
    rows = [DatasetRow(id=name, question=f"{name}?", solution="s") for name in ("first", "second")]
    found = collector.collect(rows, version="tiny@0", round_number=0)
    # Each question is one request of all its samples, and the order is that of the rows.
    assert sorted(request.n for request in services.explained) == [3, 3]
    assert [rollout.row.id for rollout in found.rollouts] == ["first"] * 3 + ["second"] * 3
    assert (found.asked, found.dropped) == (("first", "second"), 0)
    assert min(found.explain_s, found.score_s) > 0.0
