"""A fully trained version on real vLLM: an engine of its own beside the base's, swapped as an adapter is.

Under load: `make bench-swap ENGINES=full`.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

from rlt_service.app import create_app
from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import Engine
from rlt_service.settings import Settings
from tests.support.engines import AlreadyRunning
from tests.support.service import SilentBell, serving

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]

BASE = "smollm2-135m@0"
TOLERANCE = 1e-4
QUESTION = {"question": "Carla has 13 coins and sells 9. How many are left?", "solution": "The answer is 4."}
EXPLANATIONS = ["13 - 9 = 4. So Carla has 4 coins now.", "She sells nine of thirteen.", "4"]


@pytest.fixture(scope="module")
def base_folder(rlt_home_models: Path) -> Path:
    return resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)


@pytest.fixture(scope="module")
def home(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a state folder with the base; a model that gives every token another probability lies in imports/."""
    home = tmp_path_factory.mktemp("full") / "home"
    shutil.copytree(base_folder, home / "models" / base_folder.name, copy_function=os.link)
    tuned = _tuned(home)
    tuned.mkdir(parents=True)
    shutil.copyfile(base_folder / "config.json", tuned / "config.json")
    weights = load_file(base_folder / "model.safetensors")
    norm = weights["model.norm.weight"]
    weights["model.norm.weight"] = norm * (1.0 + 0.5 * np.sin(np.arange(norm.size))).astype(norm.dtype)
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    return home


def _tuned(home: Path) -> Path:
    return home / "artifacts" / "imports" / "tuned"


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def client(real_engine: Engine, home: Path, warm_caches: None) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(home=home, dtype="float32", kv_cache_gib=0.25)
    running: Any = AlreadyRunning(real_engine)
    async with serving(create_app(settings, engine=running, bell=SilentBell())) as made:
        yield made


@pytest.fixture(scope="module")
def references(home: Path, base_folder: Path) -> dict[str, Any]:
    """Load both models with transformers, by version."""
    folders = {BASE: base_folder, "tuned@1": _tuned(home)}
    return {
        version: AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        for version, folder in folders.items()
    }


def forward(model: Any, ids: Sequence[int], *, start: int, temperature: float = 1.0) -> list[float]:
    with torch.no_grad():
        logits_TV = model(torch.tensor([list(ids)])).logits[0, start - 1 : -1]
    logprobs_TV = torch.log_softmax(logits_TV.double() / temperature, dim=-1)
    return logprobs_TV.gather(1, torch.tensor(ids[start:])[:, None])[:, 0].tolist()


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body, timeout=300.0)
    assert answer.is_success, answer.text
    return answer.json()


async def explain(client: httpx.AsyncClient, *, max_tokens: int = 24, **fields: Any) -> dict[str, Any]:
    body = QUESTION | {"max_tokens": max_tokens, "temperature": 1.0, "seed": 5, "include": ["tokens"]} | fields
    return await post(client, "/v1/explain", **body)


async def score(client: httpx.AsyncClient, student: str) -> dict[str, Any]:
    return await post(
        client,
        "/v1/score",
        **QUESTION,
        explanations=EXPLANATIONS,
        student=student,
        reward={"temperature": 0.7},
        include=["tokens", "sequence"],
    )


def check_made_by(version: str, answer: dict[str, Any], *, references: dict[str, Any]) -> None:
    """Assert that each token was sampled from this version's model, and not from the other."""
    assert answer["teacher"]["version"] == version
    for made in answer["explanations"]:
        prompt, ids = made["tokens"]["prompt_token_ids"], made["tokens"]["completion_token_ids"]
        given = made["tokens"]["completion_logprobs"]
        for name, model in references.items():
            apart = [abs(a - b) for a, b in zip(forward(model, [*prompt, *ids], start=len(prompt)), given, strict=True)]
            # A rare token's log-prob is far from 0 and carries more rounding; another model's is off by whole nats.
            assert (max(apart) < 0.01) == (name == version), (version, name, max(apart))


async def point(client: httpx.AsyncClient, to: str, *, expected: str) -> None:
    answer = await client.put("/v1/aliases/teacher/default", json={"version": to, "expected": expected}, timeout=300.0)
    assert answer.status_code == 200, answer.text


async def test_whole_model_is_served_promoted_and_rolled_back_and_the_base_stays_exact(
    client: httpx.AsyncClient, references: dict[str, Any]
) -> None:
    registering = asyncio.create_task(post(client, "/v1/teachers/tuned/versions", folder="tuned"))
    check_made_by(BASE, await explain(client), references=references)  # the base serves while the other engine starts
    assert not registering.done()
    made = await registering
    assert (made["version"], made["weights"]) == ("tuned@1", "full")

    before = asyncio.create_task(explain(client, max_tokens=120, n=2))
    await asyncio.sleep(0.3)
    assert not before.done()
    await point(client, "tuned@1", expected=BASE)
    assert not before.done()
    after = asyncio.create_task(explain(client, n=2))
    check_made_by(BASE, await before, references=references)
    check_made_by("tuned@1", await after, references=references)

    during = asyncio.create_task(explain(client, max_tokens=120))
    await asyncio.sleep(0.3)
    rolled = await post(client, "/v1/aliases/teacher/default/rollback", expected="tuned@1")
    assert rolled["version"] == BASE
    assert not during.done()
    again = await explain(client)
    check_made_by("tuned@1", await during, references=references)
    check_made_by(BASE, again, references=references)


async def test_scores_of_base_and_whole_model_are_those_of_a_transformers_forward(
    client: httpx.AsyncClient, references: dict[str, Any]
) -> None:
    found: dict[str, list[float]] = {}
    for version, answer in zip(references, await asyncio.gather(*[score(client, v) for v in references]), strict=True):
        assert answer["student"]["version"] == version
        for one in answer["scores"]:
            start, end = one["sequence"]["solution"]
            ids = one["sequence"]["token_ids"][:end]
            expected = forward(references[version], ids, start=start, temperature=0.7)
            got = [token["logprob"] for token in one["tokens"] if token["segment"] == "solution"]
            found.setdefault(version, []).extend(got)
            assert max(abs(a - b) for a, b in zip(expected, got, strict=True)) < TOLERANCE
    base, whole = found.values()
    assert max(abs(a - b) for a, b in zip(base, whole, strict=True)) > 0.1
