"""`max_staleness` from 1 on: a step's rollouts are collected while the step before trains."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlt_core.schemas.explain import ExplainResponse
from rlt_core.schemas.trainer import CheckpointEvent, ProgressEvent, ResumePoint
from rlt_train.errors import RolloutMismatchError
from rlt_train.rl import run_rl

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]
SPEC = {"steps": 4, "learning_rate": 0.05, "save_every": 2}


def loading(services: Any) -> Any:
    """Load each policy where it is published: transformers loads models in one thread alone."""
    publish = services.publish

    def publish_and_load(*, step: int, sha256: str) -> str:
        version = publish(step=step, sha256=sha256)
        services.models[version] = services.model(version)
        return version

    services.publish = publish_and_load
    return services


def metrics_of(world: Any, job: Any) -> list[dict[str, float]]:
    return [event.metrics for event in world.events(job) if isinstance(event, ProgressEvent)]


def step_asked_by(request: Any) -> int:
    return int(request.teacher.rpartition("@")[2])


def test_each_step_samples_from_the_policy_that_the_step_before_began_with(world: Any, fake_services: Services) -> None:
    job, plain = world.rl(SPEC | {"max_staleness": 4}), world.rl(SPEC)
    services, strict = loading(fake_services(job)), loading(fake_services(plain))
    result = run_rl(world.context(job, services))
    run_rl(world.context(plain, strict))
    assert [step_asked_by(request) for request in services.explained] == [0, 0, 0, 0, 1, 1, 2, 2]
    assert [step_asked_by(request) for request in strict.explained] == [0, 0, 1, 1, 2, 2, 3, 3]
    # The same questions at the same steps.
    assert [request.question for request in services.explained] == [request.question for request in strict.explained]
    metrics = metrics_of(world, job)
    assert [one["staleness"] for one in metrics] == [0.0, 1.0, 1.0, 1.0]
    assert [one["staleness"] for one in metrics_of(world, plain)] == [0.0] * 4
    # The ratio is against what the older policy said when it sampled.
    assert metrics[0]["logprob_gap_max"] < 1e-4
    assert min(one["logprob_gap_mean"] for one in metrics[1:]) > 1e-3
    assert all(min(one["wait_s"], one["train_s"]) > 0.0 for one in metrics[1:])
    assert result.cost["wait_s"] >= 0.0
    for step, version in enumerate(("@0", "@0", "@1", "@2")):
        entry = json.loads((Path(job.attempt_dir) / "journal" / f"step-{step}.json").read_text().splitlines()[1])
        assert (entry["step"], entry["version"].endswith(version)) == (step, True)


def test_rollouts_of_the_next_step_are_written_while_this_one_trains(world: Any, fake_services: Services) -> None:
    job = world.rl(SPEC | {"steps": 2, "max_staleness": 1})
    services = loading(fake_services(job))

    def wait_for_the_step(answer: ExplainResponse) -> ExplainResponse:
        if len(services.explained) <= 2:  # the first step's, before anything trains
            return answer
        until_s = time.monotonic() + 10.0
        while len(services.published) < 2:
            assert time.monotonic() < until_s, "the first step did not train while the second one's were written"
            time.sleep(0.01)
        return answer

    services.spoil_explanation = wait_for_the_step
    run_rl(world.context(job, services))
    assert [step for step, _ in services.published] == [0, 1, 2]


def test_what_goes_wrong_beside_a_step_ends_the_job_at_the_next(world: Any, fake_services: Services) -> None:
    job = world.rl(SPEC | {"max_staleness": 1})
    services = loading(fake_services(job))

    def spoil(answer: ExplainResponse) -> ExplainResponse:
        return answer if len(services.explained) <= 2 else answer.model_copy(update={"format": "other@1"})

    services.spoil_explanation = spoil
    with pytest.raises(RolloutMismatchError, match="format"):
        run_rl(world.context(job, services))
    assert [step for step, _ in services.published] == [0, 1]


def test_a_resume_samples_anew_and_goes_on_to_the_end(world: Any, fake_services: Services) -> None:
    spec = SPEC | {"max_staleness": 1}
    first = world.rl(spec)
    run_rl(world.context(first, loading(fake_services(first))))
    points = [
        ResumePoint(attempt=1, step=event.step, folder=event.path, manifest_sha256=event.manifest_sha256)
        for event in world.events(first)
        if isinstance(event, CheckpointEvent) and event.step == 2
    ]
    journals = [str(Path(first.attempt_dir) / "journal")]
    again = world.rl(spec, attempt=2, resume_points=points, journal_dirs=journals)
    services = loading(fake_services(again))
    result = run_rl(world.context(again, services))
    assert (result.steps, result.cost["replayed_steps"]) == (4, 0.0)
    assert [one["staleness"] for one in metrics_of(world, again)] == [0.0, 1.0]
    assert [step_asked_by(request) for request in services.explained] == [2, 2, 2, 2]
