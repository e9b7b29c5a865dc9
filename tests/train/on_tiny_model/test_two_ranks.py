"""Two processes on gloo, started as a worker starts them, train what one process trains."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlt_core.schemas.trainer import (
    CheckpointEvent,
    ErrorEvent,
    ProgressEvent,
    ResultEvent,
    ResumePoint,
    TrainerJob,
)
from rlt_service.jobs.launching import launched
from rlt_train.checkpoints import verified
from rlt_train.data_order import ByLength
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.warmup import run_warmup
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.training, pytest.mark.processes]

TWO = {"processes": 2}
STEPS = 24


@contextmanager
def two_ranks(job: TrainerJob, *, trainer: Sequence[str] = ("-m", "rlt_train")) -> Iterator[subprocess.Popen[bytes]]:
    """Start the job's ranks as its supervisor would, on one thread each."""
    folder = Path(job.attempt_dir)
    file = folder.parent / f"{folder.name}.json"
    file.write_text(job.model_dump_json())
    command = launched((sys.executable, *trainer), parallel=job.training.parallel, folder=folder)
    alone = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "huggingface")}
    alone["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--job", str(file), "--no-watch"], env=os.environ | alone, stdout=log, stderr=log, cwd=folder
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def losses(world: Any, *jobs: TrainerJob) -> dict[int, float]:
    found = [event for job in jobs for event in world.events(job) if isinstance(event, ProgressEvent)]
    assert len({event.step for event in found}) == len(found)  # one rank speaks
    return {event.step: event.metrics["loss"] for event in found}


def test_two_ranks_that_are_stopped_and_taken_up_again_train_as_one_process_does(world: Any) -> None:
    # Seven rows in batches of four: each epoch ends with three, of which one rank has but one.
    rows = world.dataset.read_text().splitlines(keepends=True)
    world.dataset.write_text("".join(rows[:7]))
    spec = {"max_steps": STEPS, "epochs": 100.0, "save_every": 0}
    alone = world.warmup(**spec)
    expected = run_warmup(world.context(alone))

    stopped = world.warmup(**spec, parallel=TWO)
    events = Path(stopped.events_path)
    with two_ranks(stopped) as ranks:
        began = lambda: events.exists() and '"progress"' in events.read_text()  # noqa: E731 - a condition
        wait_until(began, what="the ranks train", timeout_s=120.0)
        ranks.send_signal(signal.SIGTERM)
        assert ranks.wait(60.0) != 0
    told = world.events(stopped)
    [checkpoint] = [event for event in told if isinstance(event, CheckpointEvent)]
    assert checkpoint.step == max(losses(world, stopped)) < STEPS
    assert not [event for event in told if isinstance(event, ErrorEvent | ResultEvent)]

    point = ResumePoint(
        attempt=1, step=checkpoint.step, folder=checkpoint.path, manifest_sha256=checkpoint.manifest_sha256
    )
    again = world.warmup(**spec, parallel=TWO).model_copy(update={"attempt": 2, "resume_points": [point]})
    verified(point, job=again)
    with two_ranks(again) as ranks:
        assert ranks.wait(120.0) == 0
    [result] = [event for event in world.events(again) if isinstance(event, ResultEvent)]
    assert losses(world, stopped, again) == pytest.approx(losses(world, alone), abs=1e-5)
    made, wanted = (load_file(Path(each.adapter_dir) / "adapter_model.safetensors") for each in (result, expected))
    assert set(made) == set(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(made[name], tensor, atol=1e-4, rtol=0.0)


def test_a_rank_that_breaks_ends_the_other_and_its_error_is_the_only_one(world: Any) -> None:
    job = world.warmup(max_steps=1000, epochs=1000.0, save_every=0, parallel=TWO)
    breaking = Path(__file__).with_name("breaking_rank.py")
    with two_ranks(job, trainer=(str(breaking),)) as ranks:
        assert ranks.wait(120.0) == 1
    [error] = [event for event in world.events(job) if isinstance(event, ErrorEvent)]
    assert (error.code, error.message) == ("out_of_memory", "MemoryError: rank 1 holds no more")
    assert max(losses(world, job)) == 2


def test_fillers_make_passes_of_equal_number_and_change_no_order() -> None:
    plain = ByLength([3, 1, 2, 5, 4, 7, 6], batch=4, seed=1)
    filled = ByLength([3, 1, 2, 5, 4, 7, 6], batch=4, seed=1, filler=7, multiple=4)
    assert list(filled) == [*plain, 7]
    assert (len(filled), filled.order()) == (8, plain.order())


def test_a_batch_that_two_ranks_cannot_share_is_refused(world: Any) -> None:
    job = world.warmup(batch_size=3, parallel=TWO)
    with pytest.raises(InvalidTrainingDataError, match="3 rows in a step"):
        run_warmup(world.context(job))
