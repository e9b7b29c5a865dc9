"""OpenAI's client on vLLM: our answers read by vLLM's own protocol classes, our prompt held against the model's."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from transformers import AutoTokenizer
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse, ChatCompletionStreamResponse

from rlt_core.tokens import ChatTurn
from rlt_service.app import create_app
from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import Engine
from rlt_service.settings import Settings
from tests.support.engines import AlreadyRunning
from tests.support.service import SilentBell, serving

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="session")]

MESSAGES: list[Any] = [
    {"role": "user", "content": "Carla has 13 coins and sells 9. How many are left?"},
    {"role": "assistant", "content": "She has 4 left."},
    {"role": "user", "content": "And if she sells one more?"},
]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def client(
    real_engine: Engine, rlt_home_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AsyncOpenAI]:
    home = tmp_path_factory.mktemp("chat") / "home"
    folder = resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)
    shutil.copytree(folder, home / "models" / folder.name, copy_function=os.link)
    running: Any = AlreadyRunning(real_engine)
    app = create_app(Settings(home=home), engine=running, bell=SilentBell())
    async with serving(app), httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as http:
        yield AsyncOpenAI(base_url="http://localhost/v1", api_key="none", http_client=http, timeout=120.0)


async def test_a_chat_is_answered_as_vllms_own_classes_have_it(client: AsyncOpenAI) -> None:
    asked: dict[str, Any] = {"model": "default", "messages": MESSAGES, "max_tokens": 24, "temperature": 0}
    raw = await client.chat.completions.with_raw_response.create(**asked, logprobs=True)
    whole = raw.parse()
    read = ChatCompletionResponse.model_validate_json(raw.text)
    assert (whole.model, read.choices[0].message.role) == ("smollm2-135m@0", "assistant")
    text = whole.choices[0].message.content or ""
    assert text.strip()
    assert (read.choices[0].message.content, read.usage.prompt_tokens) == (
        text,
        whole.usage and whole.usage.prompt_tokens,
    )
    told = whole.choices[0].logprobs
    assert told is not None
    assert "".join(one.token for one in told.content or []) == text
    assert all(one.logprob <= 0.0 for one in told.content or [])
    stream = await client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == text
    for chunk in chunks:
        ChatCompletionStreamResponse.model_validate(chunk.model_dump(exclude_unset=True))
    assert chunks[-1].usage is not None
    stop = text[len(text) // 2 :].split()[0]
    stopped = await client.chat.completions.create(**asked, stop=[stop])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == (text.partition(stop)[0], "stop")


async def test_the_prompt_is_what_the_models_template_makes_of_the_messages(
    client: AsyncOpenAI, real_engine: Engine, rlt_home_models: Path
) -> None:
    folder = resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    instructed: list[Any] = [{"role": "system", "content": "Be brief."}, *MESSAGES]
    for messages in (MESSAGES, instructed):
        expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        turns = [ChatTurn(role=one["role"], text=one["content"]) for one in messages]
        assert list(real_engine.codec.chat_prompt(turns)) == list(expected)
        answer = await client.chat.completions.create(model="default", messages=messages, max_tokens=1)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == len(expected)
