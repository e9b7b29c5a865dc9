"""SIGKILL while the real trainer reinforces on real vLLM, of trainer, worker and engine; a resume from its journal."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from benchmarks.reliability.resumes import Final, differences
from rlt_client import Client
from rlt_client.demo.questions import generate_questions
from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.jobs import Job
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_core.schemas.solve import SolveRequest, SolveResponse
from rlt_core.schemas.trainer import ResultEvent, ResumePoint, TrainerJob
from rlt_tokens import load_codec
from rlt_train.context import JobContext
from rlt_train.events import EventWriter
from rlt_train.lifeline import StopFlag
from rlt_train.rl import run_rl
from tests.support.server import Up
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(500)]

SHORT = {"questions_per_step": 2, "samples_per_question": 2, "max_tokens": 24, "save_every": 1}


@pytest.fixture(scope="module")
def dataset(real_client: Client) -> str:
    questions = generate_questions(count=12, seed=11)
    return real_client.datasets.create([question.to_row() for question in questions], name="kills").id


def below(up: Up, *marks: str) -> list[psutil.Process]:
    """Find the processes below the launcher that have one of these words in their command line or name."""
    found: list[psutil.Process] = []
    for process in up.family():
        try:
            words = f"{process.name()} {' '.join(process.cmdline())}"
        except psutil.Error:
            continue
        if any(mark in words for mark in marks):
            found.append(process)
    return found


def submit(client: Client, dataset: str, *, name: str, steps: int, **more: Any) -> str:
    return client.train({"kind": "rl", "dataset": dataset, "target_name": name, "steps": steps, **SHORT, **more}).id


def attempt_dir(up: Up, job: str, attempt: int) -> Path:
    return up.home / "artifacts" / "jobs" / job / f"attempt-{attempt}"


def journal(up: Up, job: str, *, attempt: int, step: int) -> Path:
    return attempt_dir(up, job, attempt) / "journal" / f"step-{step}.json"


def ended(client: Client, job: str) -> Job:
    done = client.jobs.wait(job, timeout_s=240.0)
    assert done.status == "succeeded", done.error
    return done


def data_of(client: Client, job: str, kind: str) -> list[dict[str, Any]]:
    return [event.data | {"attempt": event.attempt} for event in client.jobs.events(job) if event.type == kind]


def test_a_killed_trainer_goes_on_from_the_rollouts_that_it_had_and_a_killed_worker_loses_no_job(
    real_up: Up, real_client: Client, dataset: str
) -> None:
    job = submit(real_client, dataset, name="killed", steps=4)
    written = journal(real_up, job, attempt=1, step=1)
    wait_until(written.is_file, what="the second step's rollouts are on disk", timeout_s=120.0)
    first = json.loads(written.read_text().partition("\n")[2])  # below the line with its hash
    for trainer in below(real_up, "rlt_train"):
        trainer.kill()

    wait_until(lambda: journal(real_up, job, attempt=2, step=2).is_file(), what="it goes on", timeout_s=120.0)
    trainers = below(real_up, "rlt_train")
    for worker in below(real_up, "celeryd", "rlt_service.jobs.worker"):
        worker.kill()
    wait_until(lambda: not any(trainer.is_running() for trainer in trainers), what="its trainer ends", timeout_s=20.0)

    done = ended(real_client, job)
    assert done.attempt == 3
    assert done.result is not None
    samples = data_of(real_client, job, "sample")
    steps = [(sample["attempt"], sample["step"]) for sample in samples]
    assert [step for _, step in steps] == sorted(step for _, step in steps)
    assert {step for _, step in steps} == {0, 1, 2, 3}
    # What the engine gave the killed attempt was trained on, not what it would give a second time.
    again = [sample["text"] for sample in samples if sample["step"] == 1]
    assert len(again) == 2
    assert set(again) == {first["rollouts"][0]["text"]}
    assert below(real_up, "rlt_train") == []


def test_a_job_whose_engine_is_killed_waits_and_goes_on(real_up: Up, real_client: Client, dataset: str) -> None:
    job = submit(real_client, dataset, name="waited", steps=3)
    wait_until(lambda: journal(real_up, job, attempt=1, step=0).is_file(), what="it trains", timeout_s=120.0)
    engines = below(real_up, "VLLM::")
    assert engines
    for engine in engines:
        engine.kill()
    done = ended(real_client, job)
    assert done.attempt == 1
    told = [entry["message"] for entry in data_of(real_client, job, "log")]
    assert any("works again" in message for message in told), told


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusingServices:
    """Let policies be published, and sample and judge nothing."""

    job: TrainerJob
    calls_at_once: int = 1

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        raise AssertionError(f"asked for {len(requests)} groups of rollouts")

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        raise AssertionError(f"asked for {len(requests)} scores")

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        raise NotImplementedError

    def publish(self, *, step: int, sha256: str) -> str:
        return f"{self.job.job_id}.{self.job.attempt}@{step}"


def manifest(attempt: Path, step: int) -> dict[str, Any]:
    return json.loads((attempt / "checkpoints" / f"step-{step}" / "manifest.json").read_text())


def train_in_process(job: TrainerJob, *, threads: int) -> ResultEvent:
    """Run an attempt here, on as many threads as the one before, since sums depend on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        codec = load_codec(Path(job.base_model_dir), format_id=job.format_id.partition("+")[0])
        events = EventWriter(Path(job.events_path))
        services = RefusingServices(job=job)
        return run_rl(JobContext(job=job, events=events, stop=StopFlag(), codec=codec, connect=lambda: services))
    finally:
        torch.set_num_threads(before)


def final(attempt: Path, step: int) -> Final:
    states = torch.load(attempt / "checkpoints" / f"step-{step}" / "state.pt", weights_only=True)
    states["cursor"] = manifest(attempt, step)["cursor"]
    return Final(adapter_sha256=adapter_sha256(attempt / "adapter"), states=states, steps={}, saved=frozenset())


def test_a_resume_from_a_whole_journal_ends_with_the_same_bytes(
    real_up: Up, real_client: Client, dataset: str, tmp_path: Path
) -> None:
    job = submit(real_client, dataset, name="replayed", steps=4, save_every=2, learning_rate=0.001)
    assert ended(real_client, job).attempt == 1
    whole = attempt_dir(real_up, job, 1)
    told = {checkpoint["step"]: checkpoint["manifest_sha256"] for checkpoint in data_of(real_client, job, "checkpoint")}
    assert set(told) == {2, 4}
    older = whole / "checkpoints" / "step-2"
    point = ResumePoint(attempt=1, step=2, folder=str(older), manifest_sha256=told[2])
    given = TrainerJob.model_validate_json((whole / "job.json").read_text())
    places = {"attempt_dir": str(tmp_path), "events_path": str(tmp_path / "events.jsonl")}
    update = {"attempt": 2, "resume_points": [point], "journal_dirs": [str(whole / "journal")], **places}
    result = train_in_process(given.model_copy(update=update), threads=manifest(whole, 2)["threads"])
    assert (result.cost["replayed_steps"], result.cost["regenerated_steps"]) == (2, 0)
    assert differences(final(tmp_path, 4), final(whole, 4)) == []
    # What is the same had changed on the way.
    assert adapter_sha256(whole / "adapter") != adapter_sha256(older / "adapter")
