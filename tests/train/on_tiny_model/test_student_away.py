"""The student's service restarts and nothing else does: the training waits for it, says so, and goes on as it would."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rlt_core.errors import EngineUnavailableError
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_core.schemas.trainer import LogEvent, ProgressEvent
from rlt_train.patience import Patience
from rlt_train.rl import run_rl
from rlt_train.services import PatientServices
from tests.support.patience import Clock

pytestmark = pytest.mark.training

Score = Callable[[Sequence[ScoreRequest]], list[ScoreResponse]]


def away(score: Score, *, at: int, times: int) -> Score:
    """Let the call of that number fail so many times before it is answered."""
    calls = [0]

    def score_or_fail(requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        calls[0] += 1
        if at <= calls[0] < at + times:
            raise EngineUnavailableError("the student starts")
        return score(requests)

    return score_or_fail


def test_a_training_whose_students_service_restarts_waits_says_so_and_ends_as_without(
    world: Any, fake_services: Callable[[Any], Any]
) -> None:
    spec = {"steps": 3, "learning_rate": 0.05}
    undisturbed = world.rl(spec)
    expected = run_rl(world.context(undisturbed, fake_services(undisturbed)))
    job = world.rl(spec)
    services, clock = fake_services(job), Clock()
    services.score = away(services.score, at=2, times=2)
    context = world.context(job, services)
    patience = Patience(
        report=lambda message: context.events.log(message, level="warning"),
        sleep=clock.sleep,
        monotonic=lambda: clock.now_s,
    )
    patient = PatientServices(services, patience=patience, stop=context.stop)
    result = run_rl(replace(context, connect=lambda: patient))
    assert result.sha256 == expected.sha256
    said = [event.message for event in world.events(job) if isinstance(event, LogEvent) and event.level == "warning"]
    assert [message.partition("; ")[0].partition(" after")[0] for message in said] == [
        "scoring failed (the student starts)",
        "scoring failed (the student starts)",
        "scoring works again",
    ]
    assert ["trying again in" in message for message in said] == [True, True, False]
    assert [event.step for event in world.events(job) if isinstance(event, ProgressEvent)] == [1, 2, 3]
    # What the teacher had written meanwhile is kept: nothing is asked for twice.
    assert [request.teacher for request in services.explained] == [f"{job.job_id}.1@{n}" for n in (0, 0, 1, 1, 2, 2)]
