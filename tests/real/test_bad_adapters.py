"""Bad adapters on real vLLM: refused before any alias moves, and what served goes on serving."""

import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from safetensors.numpy import load_file, save_file

from rlt_core.artifacts import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from rlt_service.app import create_app
from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import Engine
from rlt_service.settings import Settings
from tests.engine.adapter_files import write_adapter
from tests.support.engines import AlreadyRunning
from tests.support.service import SilentBell, serving

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]

BODY = {"question": "Carla has 13 coins and sells 9. How many are left?", "solution": "4", "max_tokens": 4}


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def client(
    real_engine: Engine, rlt_home_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    model = resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)
    home = tmp_path_factory.mktemp("bad") / "home"
    shutil.copytree(model, home / "models" / model.name, copy_function=os.link)
    running: Any = AlreadyRunning(real_engine)
    app = create_app(Settings(home=home, dtype="float32", max_lora_rank=16), engine=running, bell=SilentBell())
    async with serving(app) as made:
        made.headers["x-imports"] = str(home / "artifacts" / "imports")
        assert (await registered(made, "sound", lambda folder: None)).status_code == 201
        answer = await made.put(
            "/v1/aliases/teacher/default", json={"version": "sound@1", "expected": "smollm2-135m@0"}
        )
        assert answer.status_code == 200, answer.text
        yield made


async def registered(client: httpx.AsyncClient, name: str, spoil: Callable[[Path], object]) -> httpx.Response:
    """Write an adapter, spoil it, ask for it to be a version."""
    folder = Path(client.headers["x-imports"]) / name
    write_adapter(folder, version=f"{name}@1", seed=1, scale=0.08)
    spoil(folder)
    return await client.post(f"/v1/teachers/{name}/versions", json={"folder": name})


def truncated(folder: Path) -> None:
    path = folder / ADAPTER_WEIGHTS
    path.write_bytes(path.read_bytes()[:-8])


def with_nan(folder: Path) -> None:
    changed(folder, lambda tensor: np.full_like(tensor, np.nan))


def far_too_large(folder: Path) -> None:
    """Each weight is a number, as a file should hold; what they make of a prompt is none."""
    changed(folder, lambda tensor: np.full_like(tensor, 1e20))


def changed(folder: Path, change: Callable[[Any], Any]) -> None:
    tensors = load_file(folder / ADAPTER_WEIGHTS)
    save_file({name: change(tensor) for name, tensor in tensors.items()}, folder / ADAPTER_WEIGHTS)


def of_another_base(folder: Path) -> None:
    path = folder / ADAPTER_CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "org/other-model"}))


def of_rank_17(folder: Path) -> None:
    write_adapter(folder, rank=17)


def on_the_output_layer(folder: Path) -> None:
    """Add what vLLM would leave out of prompt log-probs without a word (#51594)."""
    sides = {"A": np.zeros((4, 576), dtype=np.float32), "B": np.zeros((49152, 4), dtype=np.float32)}
    tensors = load_file(folder / ADAPTER_WEIGHTS)
    tensors |= {f"base_model.model.lm_head.lora_{side}.weight": tensor for side, tensor in sides.items()}
    save_file(tensors, folder / ADAPTER_WEIGHTS)


async def check_still_serving(client: httpx.AsyncClient) -> None:
    history = (await client.get("/v1/aliases/teacher/default/history")).json()["data"]
    assert history[0]["version"] == "sound@1"
    answer = await client.post("/v1/explain", json=BODY)
    assert (answer.status_code, answer.json()["teacher"]["version"]) == (200, "sound@1"), answer.text


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("truncated", truncated, "damaged"),
        ("nan", with_nan, "NaN"),
        ("other-base", of_another_base, "org/other-model"),
        ("rank-17", of_rank_17, "rank 17"),
        ("lm-head", on_the_output_layer, "lm_head"),
    ],
)
async def test_a_bad_adapter_becomes_no_version(
    client: httpx.AsyncClient, name: str, spoil: Callable[[Path], object], says: str
) -> None:
    answer = await registered(client, name, spoil)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_adapter"), answer.text
    assert says in answer.json()["detail"]
    await check_still_serving(client)


async def test_a_version_spoilt_after_its_registration_is_not_promoted(client: httpx.AsyncClient) -> None:
    assert (await registered(client, "rotten", lambda folder: None)).status_code == 201
    with_nan(Path(client.headers["x-imports"]).parent / "versions" / "rotten" / "1")
    answer = await client.put("/v1/aliases/teacher/default", json={"version": "rotten@1", "expected": "sound@1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_adapter"), answer.text
    await check_still_serving(client)


async def test_an_adapter_that_answers_with_no_number_fails_its_probe(client: httpx.AsyncClient) -> None:
    answer = await registered(client, "diverged", far_too_large)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_adapter"), answer.text
    assert "finite log-probs" in answer.json()["detail"]
    await check_still_serving(client)
