"""A job that goes on from a checkpoint of another one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlt_core.schemas.score import ScoreResponse
from rlt_core.schemas.trainer import BranchPoint, CheckpointEvent, LogEvent, ProgressEvent, TrainerJob
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.rl import run_rl
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]
OTHER = "job_aaaaaaaaaaaaaaaaaaaa"
RL = {"steps": 4, "save_every": 2, "learning_rate": 0.05}


def branch_point(world: Any, job: TrainerJob, step: int) -> BranchPoint:
    event = next(found for found in world.events(job) if isinstance(found, CheckpointEvent) and found.step == step)
    return BranchPoint(
        job_id=job.job_id, attempt=1, step=step, folder=event.path, manifest_sha256=event.manifest_sha256
    )


def metrics_of(world: Any, job: TrainerJob) -> list[tuple[int, dict[str, float]]]:
    return [(event.step, event.metrics) for event in world.events(job) if isinstance(event, ProgressEvent)]


def test_with_the_same_spec_it_ends_with_the_bytes_of_the_other(world: Any, fake_services: Services) -> None:
    other = world.rl(RL, job_id=OTHER)
    expected = run_rl(world.context(other, fake_services(other)))
    job = world.rl(RL, branch_point=branch_point(world, other, 2), teacher_version="tiny@0")
    services = fake_services(job)
    result = run_rl(world.context(job, services))
    assert result.sha256 == expected.sha256
    assert (result.steps, result.parent) == (4, "tiny@0")
    assert [step for step, _ in metrics_of(world, job)] == [3, 4]
    # Its policies are its own, and what the other one sampled is not replayed.
    assert [step for step, _ in services.published] == [2, 3, 4]
    assert {request.teacher.rpartition("@")[2] for request in services.explained} == {"2", "3"}


def test_its_own_spec_says_how_the_optimizer_goes_on(world: Any, fake_services: Services) -> None:
    other = world.rl(RL, job_id=OTHER)
    run_rl(world.context(other, fake_services(other)))
    spec = {"steps": 8, "learning_rate": 0.02, "schedule": "linear", "save_every": 0}
    job = world.rl(spec, branch_point=branch_point(world, other, 2))
    run_rl(world.context(job, fake_services(job)))
    # Falls from 0.02 at the start of training to 0 after its 8 steps: the third step has three quarters of it left.
    rates = [metrics["learning_rate"] for _, metrics in metrics_of(world, job)]
    assert rates == pytest.approx([0.02 * left / 8 for left in (6, 5, 4, 3, 2, 1)])


def test_a_warm_up_can_be_longer_than_it_was(world: Any) -> None:
    spec = {"max_steps": 4, "epochs": 10.0, "save_every": 2, "schedule": "constant", "learning_rate": 0.05}
    other = world.job({"kind": "warmup", "role": "teacher", "batch_size": 4} | spec, job_id=OTHER)
    run_warmup(world.context(other))
    longer = {"kind": "warmup", "role": "teacher", "batch_size": 4} | spec | {"max_steps": 6}
    whole, job = world.job(longer), world.job(longer, branch_point=branch_point(world, other, 4))
    expected, result = run_warmup(world.context(whole)), run_warmup(world.context(job))
    assert result.sha256 == expected.sha256
    assert [step for step, _ in metrics_of(world, job)] == [5, 6]


def test_what_another_job_thought_best_is_not_its_result(world: Any, fake_services: Services) -> None:
    spec = RL | {"eval_every": 2, "splits": {"select": 0.25}}

    def generous(answer: ScoreResponse) -> ScoreResponse:
        scores = [score.model_copy(update={"reward": score.reward + 10.0}) for score in answer.scores]
        return answer.model_copy(update={"scores": scores})

    other = world.rl(spec, job_id=OTHER)
    services = fake_services(other)
    services.spoil_score = generous
    run_rl(world.context(other, services))
    job = world.rl(spec, branch_point=branch_point(world, other, 2))
    run_rl(world.context(job, fake_services(job)))
    said = [event.message for event in world.events(job) if isinstance(event, LogEvent)]
    assert not any("the result is the policy of step 2" in message for message in said)


def test_a_reference_goes_on_as_it_had_moved(world: Any, fake_services: Services) -> None:
    spec = RL | {"reference_every": 2, "reference_mix": 0.5}
    other = world.rl(spec, job_id=OTHER)
    expected = run_rl(world.context(other, fake_services(other)))
    job = world.rl(spec, branch_point=branch_point(world, other, 2))
    assert run_rl(world.context(job, fake_services(job))).sha256 == expected.sha256
    plain = world.rl(RL, job_id=OTHER)
    run_rl(world.context(plain, fake_services(plain)))
    later = world.rl(spec, branch_point=branch_point(world, plain, 2))  # one that had none begins where training did
    assert run_rl(world.context(later, fake_services(later))).steps == 4


def spoilt(world: Any, point: BranchPoint) -> Any:
    (Path(point.folder) / "state.pt").write_bytes(b"other")
    return world.rl(RL, branch_point=point)


def of_another_job(world: Any, point: BranchPoint) -> Any:
    return world.rl(RL, branch_point=point.model_copy(update={"job_id": "job_bbbbbbbbbbbbbbbbbbbb"}))


def in_another_order(world: Any, point: BranchPoint) -> Any:
    return world.rl(RL | {"seed": 9}, branch_point=point)


def already_there(world: Any, point: BranchPoint) -> Any:
    return world.rl(RL | {"steps": 2}, branch_point=point)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (spoilt, "not as it was written"),
        (of_another_job, "of another job"),
        (in_another_order, "another place in the data"),
        (already_there, "nothing is left to train"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_ends_the_job_and_is_not_passed_over(
    world: Any, fake_services: Services, make: Callable[[Any, BranchPoint], Any], why: str
) -> None:
    other = world.rl(RL | {"steps": 2}, job_id=OTHER)
    run_rl(world.context(other, fake_services(other)))
    job = make(world, branch_point(world, other, 2))
    with pytest.raises(InvalidTrainingDataError, match=why) as raised:
        run_rl(world.context(job, fake_services(job)))
    assert raised.value.param == "/resume_from"
    assert not (Path(job.attempt_dir) / "journal").exists()  # nothing was sampled, so nothing trained


def test_its_own_checkpoints_come_first(world: Any, fake_services: Services) -> None:
    other = world.rl(RL, job_id=OTHER)
    run_rl(world.context(other, fake_services(other)))
    spec = RL | {"steps": 6}
    first = world.rl(spec, branch_point=branch_point(world, other, 2))
    expected = run_rl(world.context(first, fake_services(first)))
    own = [
        {"attempt": 1, "step": event.step, "folder": event.path, "manifest_sha256": event.manifest_sha256}
        for event in world.events(first)
        if isinstance(event, CheckpointEvent) and event.step == 4
    ]
    journals = [str(Path(first.attempt_dir) / "journal")]
    again = world.rl(
        spec, attempt=2, branch_point=branch_point(world, other, 2), resume_points=own, journal_dirs=journals
    )
    assert run_rl(world.context(again, fake_services(again))).sha256 == expected.sha256
    assert [step for step, _ in metrics_of(world, again)] == [5, 6]
