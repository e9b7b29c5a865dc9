"""Own the list of promises: each row's trials, how many in CI and in full, and what of it is real."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability import (
    broker_faults,
    cancels,
    chaos,
    kills,
    resumes,
    serving_drain,
    serving_overload,
    stalls,
    submissions,
)
from benchmarks.reliability.tiny_model import save_tiny_model
from benchmarks.reliability.trial import Trial

Trials = Callable[..., Iterator[Trial]]

STUB = "control, broker, workers and supervisors are real processes on SQLite; the trainer is a stub without a model"
REAL = "all processes are real, the trainer too, on a random Llama of two layers; the engine is the fake one"

SERVER = "the server is a real process; its engine is the fake one, slowed down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One promise."""

    name: str
    promise: str
    trials: Trials
    in_ci: int
    """0 where it bounds times that a busy machine does not keep."""
    in_full: int
    real_parts: str
    note: str = ""


def _on_tiny_model(trials: Trials) -> Trials:
    def with_model(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
        with tempfile.TemporaryDirectory(prefix="rlt-tiny-") as model:
            yield from trials(count=count, seed=seed, folder=folder, base_model=save_tiny_model(Path(model) / "tiny"))

    return with_model


ROWS = (
    Row(
        name="kills-stub",
        promise="kill -9 of workers and trainers, also while a checkpoint is written: every job ends once with one "
        "version, no more than one save interval is done again, it runs again within 8 s (lease 3 s)",
        trials=kills.stub_trials,
        in_ci=20,
        in_full=300,
        real_parts=STUB,
    ),
    Row(
        name="kills-real",
        promise="the same, with the real trainer (`warmup` and `rl`)",
        trials=_on_tiny_model(kills.real_trials),
        in_ci=3,
        in_full=40,
        real_parts=REAL,
    ),
    Row(
        name="acknowledged",
        promise="the control service killed right after its 202: every job exists and finishes",
        trials=submissions.acknowledged_trials,
        in_ci=8,
        in_full=200,
        real_parts=STUB,
    ),
    Row(
        name="same-submission",
        promise="one submission many times at once with one key, over two services: one job",
        trials=submissions.same_trials,
        in_ci=20,
        in_full=100,
        real_parts=STUB,
    ),
    Row(
        name="broker",
        promise="broker killed, away for a minute, FLUSHALL, append-only file truncated: submissions are still "
        "taken, all finish, bells ring again within 30 s of its return",
        trials=broker_faults.trials,
        in_ci=1,
        in_full=3,
        real_parts=STUB,
    ),
    Row(
        name="stalled-worker",
        promise="a worker stopped past its lease and woken: its writes are refused, its trainer ends within 10 s",
        trials=stalls.trials,
        in_ci=2,
        in_full=10,
        real_parts=STUB,
    ),
    Row(
        name="resume",
        promise="kill -9 of the trainer at any point: weights, optimizer, schedule, random states and data order "
        "end bit-identical to the unbroken run's",
        trials=_on_tiny_model(resumes.trials),
        in_ci=2,
        in_full=10,
        real_parts=REAL,
        note="The fake engine samples by the seed alone, so a step whose journal was not written is sampled alike.",
    ),
    Row(
        name="cancel",
        promise="cancel at a random moment: ended within 30 s, no process left",
        trials=cancels.trials,
        in_ci=6,
        in_full=50,
        real_parts=STUB,
    ),
    Row(
        name="drain",
        promise="asked to end with 32 calls in flight: every one is answered, the server is gone within 35 s",
        trials=serving_drain.trials,
        in_ci=1,
        in_full=20,
        real_parts=SERVER,
    ),
    Row(
        name="overload",
        promise="512 calls and 4 batches of 256 at once: only 200, 429 and 503, none lost, /healthz p99 below 100 ms, "
        "memory back within 10%",
        trials=serving_overload.trials,
        in_ci=0,
        in_full=5,
        real_parts=SERVER,
    ),
    Row(
        name="chaos",
        promise="all faults at random, 10 workers: what was acknowledged ends once, nothing twice, memory and file "
        "descriptors stay flat, no process left",
        trials=chaos.trials,
        in_ci=300,
        in_full=20_000,
        real_parts=STUB,
    ),
)
BY_NAME = {row.name: row for row in ROWS}
