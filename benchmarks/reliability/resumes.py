"""The real trainer, killed by SIGKILL and taken up: its last checkpoint is bit-identical to an unbroken run's."""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.parts import real_plant
from benchmarks.reliability.plant import Plant, wait_for
from benchmarks.reliability.trial import Trial, left_over
from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.jobs import Job, RlSpec, WarmupSpec

STEPS = {"warmup": 12, "rl": 6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """What a run ended with."""

    adapter_sha256: str
    states: dict[str, Any]
    """Of the last checkpoint: optimizer, schedule, random states, epoch, and its place in the order of the data."""


def trials(*, count: int, seed: int, folder: Path, base_model: Path) -> Iterator[Trial]:
    """Train one of each kind whole, then kill others at random moments, and compare."""
    chance, plant = random.Random(seed), real_plant(folder / "home", base_model=base_model)
    try:
        plant.start(workers=1)
        whole: dict[str, Final] = {}
        for number in range(count):
            kind = ("warmup", "rl")[number % 2]
            if kind not in whole:
                job = plant.submit(_spec(plant, kind))
                wait_for(lambda job=job: plant.has_ended(job.id), what="the unbroken run has ended", timeout_s=300.0)
                whole[kind] = _final(plant, plant.jobs.get(job.id))
            while (trial := _trial(plant, kind, whole[kind], chance, number=number, seed=seed)) is None:
                continue  # it had ended before it could be hit
            yield trial
    finally:
        left = plant.end()
    yield from left_over(left, row="resume", number=count, seed=seed)


def _spec(plant: Plant, kind: str) -> WarmupSpec | RlSpec:
    shared = {"dataset": plant.dataset, "target_name": "resumed", "seed": 5, "lora": {"rank": 4, "alpha": 8.0}}
    if kind == "rl":
        small = {"questions_per_step": 2, "samples_per_question": 2, "max_tokens": 16, "save_every": 2}
        return RlSpec.model_validate({"kind": kind, "steps": STEPS[kind], "learning_rate": 0.05, **shared, **small})
    many = {"epochs": 40.0, "max_steps": STEPS[kind], "batch_size": 4, "save_every": 2, "learning_rate": 0.05}
    return WarmupSpec.model_validate({"kind": "warmup", "role": "teacher", **shared, **many})


def _trial(plant: Plant, kind: str, whole: Final, chance: random.Random, *, number: int, seed: int) -> Trial | None:
    job = plant.submit(_spec(plant, kind))
    after_step = chance.randrange(1, STEPS[kind])
    wait_for(lambda: plant.has_ended(job.id) or plant.jobs.get(job.id).progress.step >= after_step, what="it trains")
    time.sleep(chance.uniform(0.0, 0.3))
    killed = _kill(plant, plant.jobs.get(job.id))
    wait_for(lambda: plant.has_ended(job.id), what="it has ended", timeout_s=300.0)
    ended = plant.jobs.get(job.id)
    wrong = book_of(plant, job.id).faults(save_every=2)
    if not (killed or wrong):
        return None
    if ended.status != "succeeded":
        wrong.append(f"it {ended.status}: {ended.error}")
    else:
        wrong += differences(_final(plant, ended), whole)
    return Trial(
        row="resume",
        number=number,
        seed=seed,
        fault=f"SIGKILL of the {kind} trainer after step {after_step}",
        passed=not wrong,
        seconds=0.0,
        detail="; ".join(wrong) or "bit-identical",
        figures={"attempts": ended.attempt},
    )


def _kill(plant: Plant, job: Job) -> bool:
    worker = plant.worker_of(job)
    if worker is None or job.status != "running":
        return False
    trainers = [child for child in psutil.Process(worker.pid).children() if "rlt_train" in " ".join(child.cmdline())]
    for trainer in trainers:
        trainer.kill()
    return bool(trainers)


def _final(plant: Plant, job: Job) -> Final:
    """Read the last attempt's adapter and the job's last checkpoint: an attempt killed as it ended left that."""
    folder = plant.artifacts.attempt_dir(job.id, job.attempt)
    checkpoints = folder.parent.glob("attempt-*/checkpoints/step-*")
    last = max(checkpoints, key=lambda path: (_number(path), _number(path.parent.parent)))
    states: dict[str, Any] = torch.load(last / "state.pt", weights_only=True)
    states["step"] = last.name
    states["cursor"] = _read(last / "manifest.json")["cursor"]
    states["epoch"] = _read(last / "trainer_state.json")["epoch"]
    return Final(adapter_sha256=adapter_sha256(folder / "adapter"), states=states)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def differences(seen: Final, whole: Final) -> list[str]:
    """Say in what a run that was killed ended otherwise than the whole one; nothing where they are the same bits."""
    found = [] if seen.adapter_sha256 == whole.adapter_sha256 else ["other weights"]
    return found + _unequal(seen.states, whole.states, at="")


def _unequal(seen: Any, whole: Any, *, at: str) -> list[str]:
    if isinstance(whole, torch.Tensor):
        return [] if torch.equal(seen, whole) else [f"another {at}"]
    if isinstance(whole, dict):
        if set(seen) != set(whole):
            return [f"other parts of {at or 'the states'}: {', '.join(sorted(map(str, set(seen) ^ set(whole))))}"]
        return [text for key in whole for text in _unequal(seen[key], whole[key], at=f"{at}/{key}")]
    if isinstance(whole, list | tuple):
        pairs = enumerate(zip(seen, whole, strict=True))
        return [text for place, (mine, other) in pairs for text in _unequal(mine, other, at=f"{at}/{place}")]
    return [] if seen == whole else [f"another {at}"]
