"""The real trainer in real processes: training goes on from what a paused or a cancelled job leaves."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.reliability.parts import real_plant
from benchmarks.reliability.plant import Plant
from benchmarks.reliability.tiny_model import save_tiny_model
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import Job, RlSpec, WarmupSpec
from rlt_core.schemas.trainer import EXIT_STOPPED, TRAINER_EVENT, ProgressEvent, ResumePoint, TrainerJob
from rlt_train.checkpoints import verified
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

WAIT_S = 120.0
QUESTIONS, AT_ONCE = 160, 4
WARMUP: Mapping[str, object] = {"kind": "warmup", "role": "teacher", "epochs": 1000.0, "batch_size": 1}
RL: Mapping[str, object] = {"kind": "rl", "steps": 10_000, "questions_per_step": 2, "samples_per_question": 2}
SHARED: Mapping[str, object] = {"target_name": "real", "lora": {"rank": 4, "alpha": 8.0}, "save_every": 0}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("real")
    plant = real_plant(folder / "home", base_model=save_tiny_model(folder / "base"), RLT_CANCEL_GRACE_S="30")
    try:
        plant.start(workers=1)
        yield plant
    finally:
        left = plant.end()
    assert left == []


def submit(plant: Plant, kind: str) -> Job:
    """Submit a job without end, which saves nothing of its own accord."""
    if kind == "warmup":
        return plant.submit(WarmupSpec.model_validate({**WARMUP, **SHARED, "dataset": plant.dataset}))
    return plant.submit(RlSpec.model_validate({**RL, **SHARED, "dataset": plant.dataset, "max_tokens": 16}))


def wait_for(plant: Plant, job: Job, *, attempt: int, step: int) -> int:
    """Wait until an attempt has told of a step, and give the last one of which it has."""
    wait_until(lambda: max(steps_of(plant, job, attempt), default=0) >= step, what="it trains", timeout_s=WAIT_S)
    return max(steps_of(plant, job, attempt))


def steps_of(plant: Plant, job: Job, attempt: int) -> list[int]:
    events = list(plant.jobs.events(job.id, types=("progress",)))
    while more := plant.jobs.events(job.id, types=("progress",), after_seq=events[-1].seq if events else 0):
        events += more
    return [event.data["step"] for event in events if event.attempt == attempt]


def ask(plant: Plant, job: Job, verb: str, *, until: str | None = None) -> None:
    httpx.post(f"{plant.address}/v1/jobs/{job.id}/{verb}", timeout=30.0).raise_for_status()
    if until is not None:
        wait_until(lambda: plant.jobs.get(job.id).status == until, what=f"it is {until}", timeout_s=WAIT_S)


def last_checkpoint(plant: Plant, job: Job, *, attempt: int) -> tuple[ResumePoint, TrainerJob]:
    """Give the one checkpoint that an attempt has told of, verified, with what the attempt was given."""
    told = [event for event in plant.jobs.checkpoints(job.id) if event.attempt == attempt]
    assert len(told) == 1
    point = ResumePoint(
        attempt=attempt,
        step=told[0].data["step"],
        folder=str(plant.artifacts.attempt_dir(job.id, attempt) / "checkpoints" / f"step-{told[0].data['step']}"),
        manifest_sha256=told[0].data["manifest_sha256"],
    )
    given = TrainerJob.model_validate_json(plant.artifacts.job_file(job.id, attempt).read_text())
    assert verified(point, job=given).step == point.step
    return point, given


def assert_no_step_is_lost(plant: Plant, job: Job, point: ResumePoint, *, asked_at: int) -> None:
    last = max(steps_of(plant, job, point.attempt))
    assert asked_at <= last <= point.step <= last + 1  # a step may end between its progress and the signal


@pytest.mark.parametrize("kind", ["warmup", "rl"])
def test_a_paused_job_goes_on_from_the_step_it_was_paused_at_and_a_cancelled_one_leaves_its_last_step(
    plant: Plant, tmp_path: Path, kind: str
) -> None:
    job = submit(plant, kind)
    asked_at = wait_for(plant, job, attempt=1, step=2)
    ask(plant, job, "pause", until="paused")
    assert plant.trainers_of(job.id) == set()
    paused_at, _ = last_checkpoint(plant, job, attempt=1)
    assert_no_step_is_lost(plant, job, paused_at, asked_at=asked_at)

    ask(plant, job, "resume")
    asked_at = wait_for(plant, job, attempt=2, step=paused_at.step + 2)
    assert steps_of(plant, job, 2)[0] == paused_at.step + 1
    ask(plant, job, "cancel", until="cancelled")
    assert plant.trainers_of(job.id) == set()
    cancelled_at, given = last_checkpoint(plant, job, attempt=2)
    assert_no_step_is_lost(plant, job, cancelled_at, asked_at=asked_at)

    if kind == "warmup":  # an rl trainer needs the service, which takes nothing more of a cancelled job
        assert first_step_after(cancelled_at, given, folder=tmp_path) == cancelled_at.step + 1


def first_step_after(point: ResumePoint, given: TrainerJob, *, folder: Path) -> int:
    """Run the trainer by hand from a checkpoint until it has done a step; gives that step's number."""
    attempt, events = folder / "attempt-3", folder / "attempt-3" / "events.jsonl"
    attempt.mkdir()
    update = {"attempt": 3, "resume_points": [point], "attempt_dir": str(attempt), "events_path": str(events)}
    (folder / "job.json").write_text(given.model_copy(update=update).model_dump_json())
    command = [sys.executable, "-m", "rlt_train", "--job", str(folder / "job.json"), "--no-watch"]

    def steps() -> list[int]:
        lines = events.read_text().splitlines(keepends=True) if events.exists() else []
        said = [TRAINER_EVENT.validate_json(line) for line in lines if line.endswith("\n")]
        return [event.step for event in said if isinstance(event, ProgressEvent)]

    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=folder) as process:
        try:
            wait_until(lambda: bool(steps()), what="a step is done", timeout_s=WAIT_S)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == EXIT_STOPPED
        finally:
            process.kill()
    return steps()[0]


def test_a_collect_whose_trainer_is_killed_goes_on_and_asks_nothing_twice(plant: Plant) -> None:
    """What is asked twice is at most what was under way when it was killed: calls whose answers nobody heard."""
    rows = [DatasetRow(id=f"q{n}", question=f"{n} + 1?", solution=f"It is {n + 1}.") for n in range(QUESTIONS)]
    body = "".join(row.model_dump_json(exclude_none=True) + "\n" for row in rows)
    headers = {"content-type": "application/x-ndjson"}
    uploaded = httpx.post(f"{plant.address}/v1/datasets", content=body, headers=headers, timeout=30.0)
    before = explained(plant)
    options: dict[str, Any] = {"samples_per_question": 2, "max_tokens": 16, "questions_at_once": AT_ONCE}
    job = plant.submit(CollectSpec(kind="collect", dataset=uploaded.raise_for_status().json()["id"], **options))
    assert job.output is not None
    rows_url = f"{plant.address}/v1/datasets/{job.output}/rows?limit=1000"
    wait_until(lambda: httpx.get(rows_url).json()["total"] >= 32, what="rows can be read", timeout_s=WAIT_S)
    early = httpx.get(rows_url).json()["data"]
    trainers = plant.trainers_of(job.id)
    assert trainers
    for pid in trainers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: plant.jobs.get(job.id).attempt == 2, what="it is begun again", timeout_s=WAIT_S)
    wait_until(lambda: plant.has_ended(job.id), what="it has ended", timeout_s=WAIT_S)
    ended = plant.jobs.get(job.id)
    assert ended.result is not None, ended.error
    assert (ended.status, ended.result.dataset, ended.attempt) == ("succeeded", job.output, 2)
    assert QUESTIONS <= explained(plant) - before <= QUESTIONS + AT_ONCE
    found = httpx.get(rows_url).json()["data"]
    assert [row["id"] for row in found] == [f"q{n}#{index}" for n in range(QUESTIONS) for index in (0, 1)]
    assert found[: len(early)] == early
    dataset = httpx.get(f"{plant.address}/v1/datasets/{job.output}").json()
    assert (dataset["rows"], dataset["complete"], dataset["job"]) == (2 * QUESTIONS, True, job.id)
    assert (ended.result.counts["questions"], ended.result.counts["rows"]) == (QUESTIONS, 2 * QUESTIONS)
    assert ended.result.cost["generated_tokens"] > 0
    assert not (plant.artifacts.attempt_dir(job.id, 2) / "collected").exists()


def test_an_evaluate_whose_trainer_is_killed_goes_on_and_measures_every_question(plant: Plant) -> None:
    rows = [
        DatasetRow(id=f"q{n}", question=f"{n} + 1?", solution=f"It is {n % 10}.", answer=str(n % 10))
        for n in range(QUESTIONS)
    ]
    body = "".join(row.model_dump_json(exclude_none=True) + "\n" for row in rows)
    headers = {"content-type": "application/x-ndjson"}
    uploaded = httpx.post(f"{plant.address}/v1/datasets", content=body, headers=headers, timeout=30.0)
    options: dict[str, Any] = {"samples": 2, "pass_at": [1, 2], "verdict": "exact", "questions_at_once": AT_ONCE}
    dataset: str = uploaded.raise_for_status().json()["id"]
    before = answered(plant, "solve")
    job = plant.submit(EvaluateSpec(kind="evaluate", dataset=dataset, model="default", **options))
    wait_until(lambda: answered(plant, "solve") - before >= 32, what="questions are asked", timeout_s=WAIT_S)
    trainers = plant.trainers_of(job.id)
    assert trainers
    for pid in trainers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: plant.has_ended(job.id), what="it has ended", timeout_s=WAIT_S)
    ended = plant.jobs.get(job.id)
    assert ended.result is not None, ended.error
    assert (ended.status, ended.attempt, len(ended.result.evaluations)) == ("succeeded", 2, 1)
    assert QUESTIONS <= answered(plant, "solve") - before <= QUESTIONS + AT_ONCE
    url = f"{plant.address}/v1/evaluations/{ended.result.evaluation}"
    found, answers = httpx.get(url).json(), httpx.get(f"{url}/rows?limit=1000").json()["data"]
    assert [row["question_id"] for row in answers] == [f"q{n}" for n in range(QUESTIONS) for _ in (0, 1)]
    assert (found["questions"], found["samples"]) == (QUESTIONS, 2)
    events = httpx.get(f"{plant.address}/v1/jobs/{job.id}/events?limit=1000").text
    assert '"evaluated"' in events
    assert str(plant.home) not in events
    assert found["figures"]["mean@2"]["mean"] == sum(row["right"] for row in answers) / len(answers)


def explained(plant: Plant) -> int:
    """Count the calls of /explain that the server has answered."""
    return answered(plant, "explain")


def answered(plant: Plant, what: str) -> int:
    """Count the calls of a kind that the server has answered."""
    text = httpx.get(f"{plant.address}/metrics", timeout=30.0).text
    counts = [line for line in text.splitlines() if line.startswith("rlt_http_requests_total{") and what in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)
