from collections.abc import Callable
from typing import Any

import pytest

from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_train.errors import RolloutFailedError
from rlt_train.lifeline import StopFlag
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
