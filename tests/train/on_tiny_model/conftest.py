"""Own the tiny world of the trainer's tests: a two-layer model on bytes, and services that really sample from it."""

import gc
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rlt_core.artifacts import kind_of
from rlt_core.schemas.base import EngineRef, VersionRef, now_utc
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse, ExplainUsage, Explanation
from rlt_core.schemas.jobs import JOB_SPEC
from rlt_core.schemas.score import (
    CompletionTokens,
    ExplanationInput,
    KlScore,
    Score,
    ScoreRequest,
    ScoreResponse,
    ScoreUsage,
    SolutionScore,
)
from rlt_core.schemas.solve import SolveRequest, SolveResponse
from rlt_core.schemas.trainer import TRAINER_EVENT, TrainerEvent, TrainerJob
from rlt_tokens import TokenizerCodec, byte_codec, save_byte_tokenizer
from rlt_train.context import JobContext
from rlt_train.events import EventWriter
from rlt_train.lifeline import StopFlag

JOB_ID = "job_0123456789abcdef0123"
STUDENT = "tiny-student@0"
WANTED = 130
"""Ids below it are what the fake student likes: a completion is worth its share of them, less 1."""


@pytest.fixture(scope="module", autouse=True)
def small_world() -> Iterator[None]:
    """Compute on one thread, and leave what is imported out of the full collection that ends every training."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(threads)


@pytest.fixture
def own_handler() -> Iterator[None]:
    """Give SIGTERM back its handler after a test that runs the trainer in this process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def codec() -> TokenizerCodec:
    return byte_codec()


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory: pytest.TempPathFactory, codec: TokenizerCodec) -> Path:
    folder = tmp_path_factory.mktemp("tiny-base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=codec.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    save_byte_tokenizer(folder)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [
        {
            "id": f"r{n}",
            "question": f"{n} + 1?",
            "solution": f"It is {n + 1}.",
            "reasoning_trace": f"{n} + 1 = {n + 1}.",
        }
        for n in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@dataclass
class World:
    """Makes jobs and reads what they said."""

    root: Path
    base_dir: Path
    dataset: Path
    codec: TokenizerCodec
    jobs: int = 0

    def job(self, spec: dict[str, Any], **more: Any) -> TrainerJob:
        self.jobs += 1
        attempt_dir = self.root / f"attempt-{self.jobs}"
        attempt_dir.mkdir()
        whole = {"dataset": "ds_1", "target_name": "tiny", "lora": {"rank": 4, "alpha": 8.0}} | spec
        fields: dict[str, Any] = {
            "job_id": JOB_ID,
            "attempt": 1,
            "kind": spec["kind"],
            "spec": JOB_SPEC.validate_python(whole),
            "base_model": "tiny-base",
            "base_model_dir": str(self.base_dir),
            "dataset_path": str(self.dataset),
            "attempt_dir": str(attempt_dir),
            "events_path": str(attempt_dir / "events.jsonl"),
            "format_id": self.codec.format_id,
            "student_version": STUDENT,
            "base_url": "http://in-process",
        }
        return TrainerJob.model_validate(fields | more)

    def warmup(self, **spec: Any) -> TrainerJob:
        return self.job({"kind": "warmup", "role": "teacher", "batch_size": 4, "max_steps": 3} | spec)

    def rl(self, spec: dict[str, Any] | None = None, **more: Any) -> TrainerJob:
        small = {"kind": "rl", "steps": 2, "questions_per_step": 2, "samples_per_question": 4, "max_tokens": 12}
        return self.job(small | {"learning_rate": 0.01} | (spec or {}), **more)

    def longest_prompt(self) -> int:
        """Count the tokens of the longest prompt of a teacher."""
        rows = [json.loads(line) for line in self.dataset.read_text(encoding="utf-8").splitlines()]
        texts = [(row["question"], row["solution"]) for row in rows]
        return max(len(self.codec.teacher_sequence(question=q, solution=s).token_ids) for q, s in texts)

    def context(self, job: TrainerJob, services: "FakeServices | None" = None) -> JobContext:
        def connect() -> "FakeServices":
            assert services is not None
            return services

        events = EventWriter(Path(job.events_path))
        return JobContext(job=job, events=events, stop=StopFlag(), codec=self.codec, connect=connect)

    def events(self, job: TrainerJob) -> list[TrainerEvent]:
        lines = Path(job.events_path).read_text(encoding="utf-8").splitlines()
        return [TRAINER_EVENT.validate_json(line) for line in lines]


@pytest.fixture
def world(tmp_path: Path, base_dir: Path, dataset: Path, codec: TokenizerCodec) -> World:
    return World(root=tmp_path, base_dir=base_dir, dataset=dataset, codec=codec)


def sample(
    model: Any, prompt: Sequence[int], *, n: int, temperature: float, length: int
) -> list[tuple[list[int], list[float]]]:
    """Sample token by token from the softmax at the temperature, with nothing banned."""
    ids, cache = torch.tensor([list(prompt)] * n), None
    chosen: list[torch.Tensor] = []
    logprobs: list[torch.Tensor] = []
    with torch.no_grad():
        for _ in range(length):
            answer = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logprobs_NV = torch.log_softmax(answer.logits[:, -1] / temperature, -1)
            ids, cache = torch.multinomial(logprobs_NV.exp(), 1), answer.past_key_values
            chosen.append(ids)
            logprobs.append(logprobs_NV.gather(1, ids))
    return list(zip(torch.cat(chosen, 1).tolist(), torch.cat(logprobs, 1).tolist(), strict=True))


@dataclass
class FakeServices:
    """Explains with exactly the published adapters, scores by a rule; `spoil_*` turns an answer into a wrong one."""

    job: TrainerJob
    codec: TokenizerCodec
    published: list[tuple[int, str]] = field(default_factory=list)
    explained: list[ExplainRequest] = field(default_factory=list)
    scored: list[ScoreRequest] = field(default_factory=list)
    answers: list[ExplainResponse] = field(default_factory=list)
    models: dict[str, Any] = field(default_factory=dict)
    spoil_explanation: Callable[[ExplainResponse], ExplainResponse] = lambda answer: answer
    spoil_score: Callable[[ScoreResponse], ScoreResponse] = lambda answer: answer
    shorten: bool = True
    calls_at_once: int = 1

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        self.explained += requests
        answers = [self.spoil_explanation(self._explain(request)) for request in requests]
        self.answers += answers
        return answers

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        self.scored += requests
        return [self.spoil_score(self._score(request)) for request in requests]

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        raise NotImplementedError

    def publish(self, *, step: int, sha256: str) -> str:
        self.published.append((step, sha256))
        return f"{self.job.job_id}.{self.job.attempt}@{step}"

    def model(self, version: str) -> Any:
        base = AutoModelForCausalLM.from_pretrained(self.job.base_model_dir, dtype=torch.float32)
        if version.startswith(self.job.job_id):
            folder = Path(self.job.attempt_dir) / "rollouts" / version.rpartition("@")[2]
            if kind_of(folder) == "full":
                return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            base = PeftModel.from_pretrained(base, folder)
        return base.eval()

    def _explain(self, request: ExplainRequest) -> ExplainResponse:
        prompt = self.codec.teacher_sequence(question=request.question, solution=request.solution).token_ids
        if request.teacher not in self.models:
            self.models[request.teacher] = self.model(request.teacher)
        torch.manual_seed(request.seed or 0)  # after the loading, which draws as well
        samples = sample(
            self.models[request.teacher],
            prompt,
            n=request.n,
            temperature=request.temperature,
            length=request.max_tokens,
        )
        # Completions of different lengths, so that padding is part of every test.
        cut = [len(ids) - (index % 3 if self.shorten else 0) for index, (ids, _) in enumerate(samples)]
        explanations = [
            Explanation(
                index=index,
                text=self.codec.decode(ids[:end]),
                finish_reason="stop",
                well_formed=True,
                tokens=CompletionTokens(
                    prompt_token_ids=list(prompt),
                    completion_token_ids=ids[:end],
                    completion_logprobs=logprobs[:end],
                    explanation=(0, end),
                    temperature=request.temperature,
                ),
            )
            for index, ((ids, logprobs), end) in enumerate(zip(samples, cut, strict=True))
        ]
        return ExplainResponse(
            id="exp_1",
            created_at=now_utc(),
            teacher=VersionRef(version=request.teacher),
            format=self.codec.format_id,
            engine=EngineRef(name="fake", version="1"),
            explanations=explanations,
            usage=ExplainUsage(prompt_tokens=1, completion_tokens=1),
        )

    def _score(self, request: ScoreRequest) -> ScoreResponse:
        baseline = SolutionScore(mean=-2.0, min=-3.0, sum=-4.0, tokens=2)
        return ScoreResponse(
            id="score_1",
            created_at=now_utc(),
            student=VersionRef(version=request.student),
            format=self.codec.format_id,
            engine=EngineRef(name="fake", version="1"),
            terms=["solution", "kl", "format"],
            reward=request.reward,
            baseline=baseline if request.baseline else None,
            scores=[_score_of(index, entry) for index, entry in enumerate(request.explanations)],
            usage=ScoreUsage(prompt_tokens=1),
        )


def _score_of(index: int, entry: str | ExplanationInput) -> Score:
    assert isinstance(entry, ExplanationInput)
    assert entry.tokens is not None
    ids = entry.tokens.completion_token_ids
    share = sum(token_id < WANTED for token_id in ids) / len(ids)
    solution = SolutionScore(mean=share - 1.0, min=-2.0, sum=-2.0, tokens=2)
    return Score(
        index=index,
        reward=share - 1.0,
        r_ss=share - 1.0,
        r_kl=0.0,
        format=0.0,
        well_formed=True,
        solution=solution,
        kl=KlScore(mean=0.0, max=0.0, tokens=len(ids)),
    )


@pytest.fixture
def fake_services(codec: TokenizerCodec) -> Callable[[TrainerJob], FakeServices]:
    return lambda job: FakeServices(job=job, codec=codec)
