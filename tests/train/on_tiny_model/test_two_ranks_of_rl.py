"""Two processes on gloo, one of which alone calls the services, do what one process of `rl` does."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlt_core.schemas.trainer import (
    TRAINER_EVENT,
    CheckpointEvent,
    ErrorEvent,
    EvaluationEvent,
    ProgressEvent,
    ResultEvent,
    ResumePoint,
    TrainerEvent,
    TrainerJob,
)
from tests.support.waiting import wait_until
from tests.train.on_tiny_model import rl_ranks
from tests.train.on_tiny_model.conftest import World
from tests.train.on_tiny_model.test_two_ranks import TWO, two_ranks

pytestmark = [pytest.mark.training, pytest.mark.processes]

# Six completions for each rank, in two passes: the middle question's are of both.
SPEC: dict[str, Any] = {
    **{"questions_per_step": 3, "samples_per_question": 4, "max_tokens": 8, "max_dropped": 0.5, "steps": 3},
    **{"name": rl_ranks.HANGING, "save_every": 1, "loss_type": "grpo", "beta": 0.1, "reference_every": 2},
    **{"eval_every": 2, "splits": {"select": 0.25, "gate": 0.25}, "learning_rate": 0.02},
}
RANK = ("-m", rl_ranks.__name__)
OF_TIME = ("_s", "_per_s")
OF_PASSES = ("entropy", "kl")
"""Metrics that TRL takes as means over passes, each of which is a mean over tokens: more ranks, larger passes."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """A job of one process, and the same of two, stopped in the rollouts after step 2 and taken up after step 1."""

    alone: TrainerJob
    stopped: TrainerJob
    again: TrainerJob


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, base_dir: Path, codec: Any) -> Runs:
    root = tmp_path_factory.mktemp("rl-ranks")
    rows = [{"id": f"r{n}", "question": f"{n} + 1?", "solution": f"It is {n + 1}."} for n in range(8)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    world = World(root=root, base_dir=base_dir, dataset=root / "rows.jsonl", codec=codec)
    alone = world.rl(SPEC, attempt=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rl_ranks.policy_training, "micro_batch_rows", rl_ranks.few_rows)
        context = world.context(alone)
        context.events.emit(rl_ranks.run(context))

    stopped = world.rl(SPEC | {"parallel": TWO})
    with two_ranks(stopped, trainer=RANK) as ranks:
        hangs = Path(stopped.attempt_dir) / rl_ranks.HANGS
        wait_until(hangs.exists, what="the first rank waits for its engine, the other for it", timeout_s=120.0)
        ranks.send_signal(signal.SIGTERM)
        assert ranks.wait(60.0) != 0

    saved = next(event for event in told(stopped) if isinstance(event, CheckpointEvent))
    point = ResumePoint(attempt=1, step=saved.step, folder=saved.path, manifest_sha256=saved.manifest_sha256)
    journal = str(Path(stopped.attempt_dir) / "journal")
    again = world.rl(SPEC | {"parallel": TWO}, attempt=2, resume_points=[point], journal_dirs=[journal])
    with two_ranks(again, trainer=RANK) as ranks:
        assert ranks.wait(120.0) == 0
    return Runs(alone=alone, stopped=stopped, again=again)


def told(job: TrainerJob, *, loss_type: str | None = None) -> list[TrainerEvent]:
    path = Path(job.attempt_dir) / loss_type / rl_ranks.EVENTS if loss_type else Path(job.events_path)
    return [TRAINER_EVENT.validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def metrics(*jobs: TrainerJob, loss_type: str | None = None) -> dict[int, dict[str, float]]:
    """Give each step's metrics but times, the later attempt's where both have it."""
    found = [event for job in jobs for event in told(job, loss_type=loss_type) if isinstance(event, ProgressEvent)]
    return {
        event.step: {name: value for name, value in event.metrics.items() if not name.endswith(OF_TIME)}
        for event in found
    }


def check_same(found: dict[str, float], wanted: dict[str, float]) -> None:
    for name in OF_PASSES:
        assert found[name] == pytest.approx(wanted[name], rel=0.1, abs=1e-5)
    others = {name: pytest.approx(value, rel=1e-4, abs=1e-5) for name, value in wanted.items() if name not in OF_PASSES}
    assert {name: value for name, value in found.items() if name not in OF_PASSES} == others


def check_gradients(ranks: Path, alone: Path, *, step: int) -> None:
    """Hold both ranks' gradient, each the whole step's, against that of one process."""
    wanted = torch.load(alone / rl_ranks.GRADIENTS / f"{step}-0.pt")
    assert max(gradient.abs().max() for gradient in wanted.values()) > 1e-3
    for rank in range(2):
        found = torch.load(ranks / rl_ranks.GRADIENTS / f"{step}-{rank}.pt")
        assert set(found) == set(wanted)
        for name, gradient in wanted.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3)


def calls(job: TrainerJob) -> list[list[Any]]:
    lines = (Path(job.attempt_dir) / rl_ranks.CALLS).read_text().splitlines()
    return [json.loads(line) for line in lines]


def result(job: TrainerJob) -> ResultEvent:
    return next(event for event in told(job) if isinstance(event, ResultEvent))


def test_both_ranks_end_where_the_first_is_stopped_in_a_rollout(runs: Runs) -> None:
    saved = [event.step for event in told(runs.stopped) if isinstance(event, CheckpointEvent)]
    assert saved == [1, 2]
    assert not [event for event in told(runs.stopped) if isinstance(event, ErrorEvent | ResultEvent)]


def test_the_first_rank_alone_calls_the_services_and_replays_what_was_judged(runs: Runs) -> None:
    assert {rank for rank, _, _ in (*calls(runs.stopped), *calls(runs.again))} == {0}
    assert result(runs.again).cost["replayed_steps"] == 1.0
    asked = [version for _, what, version in calls(runs.again) if what == "explain"]
    assert {version.rpartition("@")[2] for version in asked} >= {"2", "3"}
    assert not [version for version in asked if version.endswith("@1")]


def test_two_ranks_tell_the_numbers_of_one_process(runs: Runs) -> None:
    found, wanted = metrics(runs.stopped, runs.again), metrics(runs.alone)
    assert set(found) == set(wanted) == {1, 2, 3}
    for step in wanted:
        check_same(found[step], wanted[step])
    assert max(step["dropped"] for step in wanted.values()) > 0
    assert "select_reward" in wanted[3]
    gates = [
        next(event for event in told(job) if isinstance(event, EvaluationEvent)) for job in (runs.again, runs.alone)
    ]
    assert list(gates[0].metrics.values()) == [pytest.approx(found, abs=1e-5) for found in gates[1].metrics.values()]


def test_two_ranks_have_the_gradients_and_make_the_adapter_of_one_process(runs: Runs) -> None:
    for job, step in ((runs.stopped, 1), (runs.stopped, 2), (runs.again, 2), (runs.again, 3)):
        check_gradients(Path(job.attempt_dir), Path(runs.alone.attempt_dir), step=step)
    made, wanted = (
        load_file(Path(result(job).adapter_dir) / "adapter_model.safetensors") for job in (runs.again, runs.alone)
    )
    assert set(made) == set(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(made[name], tensor, atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("loss_type", rl_ranks.LOSSES)
def test_every_kind_of_loss_is_that_of_one_process(runs: Runs, loss_type: str) -> None:
    found, wanted = metrics(runs.again, loss_type=loss_type), metrics(runs.alone, loss_type=loss_type)
    check_same(found[1], wanted[1])
    check_gradients(Path(runs.again.attempt_dir) / loss_type, Path(runs.alone.attempt_dir) / loss_type, step=1)
