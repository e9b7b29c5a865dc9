"""Teacher and student of two tokenizers, each on a vLLM engine of its own: SmolLM2-135M, and a small one of bytes."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import torch
from transformers import AutoModelForCausalLM

from benchmarks.reliability.tiny_model import save_tiny_model
from rlt_core.formats import ExplanationPiece
from rlt_service.app import create_app
from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import Engine, Weights
from rlt_service.engine.vllm_engine import VllmEngine
from rlt_service.settings import Settings
from rlt_tokens import load_codec
from tests.support.engines import AlreadyRunning
from tests.support.service import SilentBell, serving

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]

QUESTION = {"question": "Carla has 13 coins and sells 9. How many are left?", "solution": "The answer is 4."}
EXPLANATIONS = ["13 - 9 = 4. So Carla has 4 coins now.", " She sells nine of thirteen.\n\N{SNOWMAN}"]
TEMPERATURE = 0.7


@pytest.fixture(scope="module")
def teacher_folder(rlt_home_models: Path) -> Path:
    return resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)


@pytest.fixture(scope="module")
def student_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("student") / "tiny")


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def client(
    real_engine: Engine,
    teacher_folder: Path,
    student_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    warm_caches: None,
) -> AsyncIterator[httpx.AsyncClient]:
    home = tmp_path_factory.mktemp("two") / "home"
    shutil.copytree(teacher_folder, home / "models" / teacher_folder.name, copy_function=os.link)
    settings = Settings(
        home=home, dtype="float32", student_model=str(student_folder), kv_cache_gib=0.1, max_model_len=1024
    )
    running: Any = AlreadyRunning(real_engine)

    def make_engine(weights: Weights) -> Engine:
        return VllmEngine(settings, weights) if weights.base_model == str(student_folder) else running

    async with serving(create_app(settings, make_engine=make_engine, bell=SilentBell())) as made:
        yield made


async def test_the_student_is_exact_and_the_divergence_is_over_characters(
    client: httpx.AsyncClient, teacher_folder: Path, student_folder: Path
) -> None:
    answer = await client.post(
        "/v1/score",
        json={
            **QUESTION,
            "explanations": EXPLANATIONS,
            "teacher": "smollm2-135m@0",
            "reward": {"temperature": TEMPERATURE},
            "include": ["tokens", "sequence"],
        },
        timeout=120.0,
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["engine"]["name"], found["teacher"]["version"]) == ("vllm", "smollm2-135m@0")
    assert found["student"]["version"] != found["teacher"]["version"]
    codec = load_codec(teacher_folder)
    teacher: Any = AutoModelForCausalLM.from_pretrained(teacher_folder, dtype=torch.float32).eval()
    student: Any = AutoModelForCausalLM.from_pretrained(student_folder, dtype=torch.float32).eval()
    for text, score in zip(EXPLANATIONS, found["scores"], strict=True):
        sequence = score["sequence"]
        by_student = forward(student, sequence["token_ids"])
        places = [*range(*sequence["explanation"]), *range(*sequence["solution"])]
        assert [token["logprob"] for token in score["tokens"]] == pytest.approx(
            [by_student[place] for place in places], abs=1e-4
        )
        solution = by_student[slice(*sequence["solution"])]
        assert (score["solution"]["mean"], score["solution"]["min"]) == pytest.approx(
            (sum(solution) / len(solution), min(solution)), abs=1e-4
        )
        read = codec.teacher_sequence(**QUESTION, explanation=ExplanationPiece(text=text))
        by_teacher = forward(teacher, read.token_ids)[read.explanation.start : read.explanation.end]
        assert (score["kl"]["aligned"], score["kl"]["tokens"]) == ("characters", len(by_teacher))
        # Whatever the pieces are, their sum is the teacher's log-prob of the text less the student's.
        apart = sum(by_teacher) - sum(by_student[slice(*sequence["explanation"])])
        assert score["kl"]["mean"] * len(by_teacher) == pytest.approx(apart, abs=1e-3)


def forward(model: Any, ids: Sequence[int]) -> list[float]:
    """Give each token's log-prob at the temperature; the first has none and gets 0."""
    with torch.no_grad():
        logits_TV = model(torch.tensor([list(ids)])).logits[0, :-1]
    logprobs_TV = torch.log_softmax(logits_TV.double() / TEMPERATURE, dim=-1)
    return [0.0, *logprobs_TV.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()]
