"""The real trainer, killed by SIGKILL at points that its files show: it ends bit-identical to an unbroken run."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.reliability.deck import Deck
from benchmarks.reliability.ledger import Book, book_of
from benchmarks.reliability.parts import real_plant
from benchmarks.reliability.plant import Plant, wait_for
from benchmarks.reliability.trainer_points import IN_ROLLOUT, POINTS, Stand, kill_at
from benchmarks.reliability.trial import Trial, left_over
from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.jobs import Job, JobEvent, RlSpec, WarmupSpec

STEPS = {"warmup": 12, "rl": 6}
SAVE_EVERY = 2
TRIES = 10
"""Jobs of which one at least must be caught at the point that is meant."""
SAMPLED = ("question_id", "text", "reward")
"""What a step tells of its first rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """What a run ended with, and how it came there."""

    adapter_sha256: str
    states: dict[str, Any]
    """Of the last checkpoint: optimizer, schedule, random states, epoch, and its place in the order of the data."""
    steps: Mapping[str, Sequence[Any]]
    """What was told of each step: loss, rewards and the like, and its first rollout; once, however often it was taken,
    where that was the same each time."""
    saved: frozenset[str]
    """Steps that a checkpoint was told of: what is killed right behind one tells nothing more of it."""


def trials(*, count: int, seed: int, folder: Path, base_model: Path) -> Iterator[Trial]:
    """Train one of each kind whole, then kill others, at each point in turn, and compare."""
    chance, plant = random.Random(seed), real_plant(folder / "home", base_model=base_model)
    deck = Deck({f"{kind} {point}": 1 for kind, points in POINTS.items() for point in points}, seed=seed)
    try:
        plant.start(workers=1)
        whole: dict[str, Final] = {}
        for number in range(count):
            kind, _, point = deck.deal().partition(" ")
            if kind not in whole:
                job = plant.submit(_spec(plant, kind))
                wait_for(lambda job=job: plant.has_ended(job.id), what="the unbroken run has ended", timeout_s=300.0)
                whole[kind] = _final(plant, book_of(plant, job.id))
            yield _trial(plant, kind, point, whole[kind], chance, number=number, seed=seed)
    finally:
        left = plant.end()
    yield from left_over(left, row="resume", number=count, seed=seed)


def _spec(plant: Plant, kind: str) -> WarmupSpec | RlSpec:
    shared = {"dataset": plant.dataset, "target_name": "resumed", "seed": 5, "lora": {"rank": 4, "alpha": 8.0}}
    shared |= {"save_every": SAVE_EVERY, "learning_rate": 0.05}
    if kind == "rl":
        small = {"questions_per_step": 2, "samples_per_question": 2, "max_tokens": 16}
        return RlSpec.model_validate({"kind": kind, "steps": STEPS[kind], **shared, **small})
    many = {"epochs": 40.0, "max_steps": STEPS[kind], "batch_size": 4}
    return WarmupSpec.model_validate({"kind": "warmup", "role": "teacher", **shared, **many})


def _trial(
    plant: Plant, kind: str, point: str, whole: Final, chance: random.Random, *, number: int, seed: int
) -> Trial:
    """Try until a job was caught at the point: most are at the first time."""
    hit, wrong, attempts = None, list[str](), 0
    for _ in range(TRIES):
        first = chance.randrange(1, STEPS[kind] - SAVE_EVERY + 1)
        job = plant.submit(_spec(plant, kind))
        hit = _kill(plant, job, point=point, steps=range(first, STEPS[kind]))
        wait_for(lambda job=job: plant.has_ended(job.id), what="it has ended", timeout_s=300.0)
        book = book_of(plant, job.id)
        wrong, attempts = [*book.faults(save_every=SAVE_EVERY), *_unlike(plant, book, whole)], book.job.attempt
        wrong += counted_wrong(book.job, hit)
        if hit or wrong:
            break
    else:
        wrong = [f"none of {TRIES} jobs was caught there"]
    return Trial(
        row="resume",
        number=number,
        seed=seed,
        fault=f"SIGKILL of the {kind} trainer {point}" + (f", step {hit.step}" if hit else ""),
        passed=not wrong,
        seconds=0.0,
        detail="; ".join(wrong) or "bit-identical",
        figures={"attempts": attempts},
    )


def _kill(plant: Plant, job: Job, *, point: str, steps: range) -> Stand | None:
    wait_for(lambda: plant.trainers_of(job.id) or plant.has_ended(job.id), what="its trainer runs")
    found = plant.trainers_of(job.id)
    attempt = plant.artifacts.attempt_dir(job.id, 1)
    return kill_at(psutil.Process(min(found)), attempt, point=point, steps=steps) if found else None


def _unlike(plant: Plant, book: Book, whole: Final) -> list[str]:
    if book.job.status != "succeeded":
        return [f"it {book.job.status}: {book.job.error}"]
    return differences(_final(plant, book), whole)


def counted_wrong(job: Job, hit: Stand | None) -> list[str]:
    """Hold what a job counts as generated again against where it was hit: only a rollout without a journal is."""
    due = float(hit is not None and hit.point == IN_ROLLOUT)
    if job.kind != "rl" or job.result is None or job.attempt > 2:  # it counts for its last attempt alone
        return []
    if job.result.cost.get("regenerated_steps") == due:
        return []
    return [f"{job.result.cost.get('regenerated_steps')} steps generated again, {due} were due"]


def _final(plant: Plant, book: Book) -> Final:
    """Read the last attempt's adapter and the job's last checkpoint: an attempt killed as it ended left that."""
    folder = plant.artifacts.attempt_dir(book.job.id, book.job.attempt)
    checkpoints = folder.parent.glob("attempt-*/checkpoints/step-*")
    last = max(checkpoints, key=lambda path: (_number(path), _number(path.parent.parent)))
    states: dict[str, Any] = torch.load(last / "state.pt", weights_only=True)
    states["step"] = last.name
    states["cursor"] = _read(last / "manifest.json")["cursor"]
    states["epoch"] = _read(last / "trainer_state.json")["epoch"]
    saved = frozenset(f"step {event.data['step']}" for event in book.events if event.type == "checkpoint")
    sha256 = adapter_sha256(folder / "adapter")
    return Final(adapter_sha256=sha256, states=states, steps=steps_told(book.events), saved=saved)


def steps_told(events: Sequence[JobEvent]) -> dict[str, list[Any]]:
    """Collect what was told of each step, but for times; what was told of it twice in the same words counts once."""
    told: dict[str, list[Any]] = {}
    for event in events:
        if event.type == "progress":
            name, metrics = f"step {event.data['step']}", event.data["metrics"]
            said = {key: value for key, value in metrics.items() if not key.endswith("_s")}
        elif event.type == "sample":
            name, said = f"rollout {event.data['step']}", {key: event.data[key] for key in SAMPLED}
        else:
            continue
        if said not in told.setdefault(name, []):
            told[name].append(said)
    return told


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def differences(seen: Final, whole: Final) -> list[str]:
    """Say in what a run that was killed went or ended otherwise than the whole one; nothing where all is the same."""
    found = [] if seen.adapter_sha256 == whole.adapter_sha256 else ["other weights"]
    due = {name: told for name, told in whole.steps.items() if name in seen.steps or name not in seen.saved}
    return [*found, *_unequal(seen.states, whole.states, at=""), *_unequal(seen.steps, due, at="")]


def _unequal(seen: Any, whole: Any, *, at: str) -> list[str]:
    if type(seen) is not type(whole):
        return [f"another {at}"]
    if isinstance(whole, torch.Tensor):
        return [] if torch.equal(seen, whole) else [f"another {at}"]
    if isinstance(whole, dict):
        if set(seen) != set(whole):
            return [f"other parts of {at or 'the run'}: {', '.join(sorted(map(str, set(seen) ^ set(whole))))}"]
        return [text for key in whole for text in _unequal(seen[key], whole[key], at=f"{at}/{key}")]
    if isinstance(whole, list | tuple):
        if len(seen) != len(whole):
            return [f"{len(seen)} of {at}, not {len(whole)}"]
        pairs = enumerate(zip(seen, whole, strict=True))
        return [text for place, (mine, other) in pairs for text in _unequal(mine, other, at=f"{at}/{place}")]
    return [] if seen == whole else [f"another {at}"]
