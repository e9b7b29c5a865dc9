"""A caller that closes its connection, on real vLLM: its requests are gone from the engine within a second."""

import asyncio
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from rlt_service.app import create_app
from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import Engine
from rlt_service.settings import Settings
from tests.support.engine_processes import busy_share, check_rests
from tests.support.engines import AlreadyRunning
from tests.support.listening import listening, send
from tests.support.service import SilentBell

if TYPE_CHECKING:  # vLLM takes seconds to import
    from rlt_service.engine.vllm_engine import VllmEngine

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]

GONE_WITHIN_S = 1.0
QUESTION = {"question": "Carla has 13 coins and sells 9. How many are left?", "solution": "The answer is 4."}
LONG = " ".join(f"{number} and {number} make {2 * number}." for number in range(100))
CALLS = {
    "explain": ("/v1/explain", QUESTION | {"n": 8, "max_tokens": 1500}),
    "stream": ("/v1/explain", QUESTION | {"n": 8, "max_tokens": 1500, "stream": True}),
    "score": ("/v1/score", QUESTION | {"explanations": [f"{number} {LONG}" for number in range(8)]}),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_closed_connection_ends_its_requests_in_vllm_within_a_second(
    real_engine: Engine, rlt_home_models: Path, tmp_path: Path, call: str
) -> None:
    model = resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)
    shutil.copytree(model, tmp_path / "models" / model.name, copy_function=os.link)
    running: Any = AlreadyRunning(real_engine)
    settings = Settings(home=tmp_path, dtype="float32", allowed_hosts=("*",))
    app = create_app(settings, engine=running, bell=SilentBell())
    path, body = CALLS[call]
    async with listening(app) as port:
        _, writer = await send(port, path, json.dumps(body).encode())
        await until_in_vllm(real_engine, 8)
        at_work = await busy_share()
        assert in_vllm(real_engine) > 0
        began_s = time.monotonic()
        writer.close()
        await until_in_vllm(real_engine, 0)
        assert time.monotonic() - began_s < GONE_WITHIN_S
        await writer.wait_closed()
        if path == "/v1/explain":  # scores that went on would be done soon, too
            await check_rests(at_work=at_work)


async def until_in_vllm(engine: Engine, count: int) -> None:
    async with asyncio.timeout(30):
        while in_vllm(engine) != count:
            await asyncio.sleep(0.01)


def in_vllm(engine: Engine) -> int:
    """Count the requests that vLLM itself has."""
    return cast("VllmEngine", engine)._state.llm.output_processor.get_num_unfinished_requests()
