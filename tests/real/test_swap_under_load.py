"""Eight clients on real vLLM while the alias moves between two adapters. `make bench-swap` does more of it."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from rlt_service.app import create_app
from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import AdapterRef, Engine, SequenceScoreRequest
from rlt_service.settings import Settings
from tests.engine.adapter_files import write_adapter
from tests.support.engines import AlreadyRunning
from tests.support.service import SilentBell, serving
from tests.support.swapping import Load, Seen, Swap, check_stamps, swapped

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]

CLIENTS, SWAPS = 8, 4
BASE = "smollm2-135m@0"
TEMPERATURE = 0.7
BODY = {
    "question": "Carla has 13 coins and sells 9. How many are left?",
    "solution": "The answer is 4.",
    "temperature": TEMPERATURE,
    "max_tokens": 16,
    "include": ["tokens"],
}
FAR = 0.5
"""Nats: rounding is a thousandth of it, the other marker is further away in some token of an answer."""


@pytest.fixture(scope="module")
def home(rlt_home_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)
    home = tmp_path_factory.mktemp("swaps") / "home"
    shutil.copytree(folder, home / "models" / folder.name, copy_function=os.link)
    for seed in (1, 2):
        write_adapter(home / "artifacts" / "imports" / f"marker-{seed}", seed=seed, scale=0.08)
    return home


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def client(real_engine: Engine, home: Path) -> AsyncIterator[httpx.AsyncClient]:
    running: Any = AlreadyRunning(real_engine)
    async with serving(create_app(Settings(home=home, dtype="float32"), engine=running, bell=SilentBell())) as made:
        yield made


async def test_8_clients_through_swaps_get_whole_answers_of_one_version_each(
    client: httpx.AsyncClient, real_engine: Engine, home: Path
) -> None:
    refs: dict[str, AdapterRef] = {}
    for seed in (1, 2):
        made = (await client.post("/v1/teachers/marker/versions", json={"folder": f"marker-{seed}"})).json()
        path = home / "artifacts" / "versions" / "marker" / str(seed)
        refs[made["version"]] = AdapterRef(version=made["version"], path=path, sha256=made["adapter_sha256"])
    versions = list(refs)
    swaps = [Swap(asked_s=0.0, done_s=0.0, version=BASE)]
    async with Load(client, clients=CLIENTS, body=BODY) as load:
        for number in range(SWAPS):
            await load.answers(CLIENTS)
            other = versions[number % 2]
            swaps.append(await swapped(client, served=swaps[-1].version, other=other, back=number == SWAPS - 1))
        await load.answers(CLIENTS)
    check_stamps(load.seen, swaps)
    assert {seen.stamped for seen in load.seen} == {BASE, *versions}
    of_stamped = [refs.get(seen.stamped) for seen in load.seen]
    assert max(await distances(real_engine, load.seen, of_stamped)) < FAR / 100
    others = {BASE: refs[versions[0]], versions[0]: refs[versions[1]], versions[1]: refs[versions[0]]}
    # The check would see it: another version gives at least one token of nearly every answer another log-prob.
    apart = await distances(real_engine, load.seen, [others[seen.stamped] for seen in load.seen])
    assert sum(one > FAR for one in apart) > 0.9 * len(apart)


async def distances(engine: Engine, answers: Sequence[Seen], adapters: Sequence[AdapterRef | None]) -> list[float]:
    """Give each answer's largest difference between its log-probs and a version's own of the same tokens."""
    made = [(tokens, adapter) for seen, adapter in zip(answers, adapters, strict=True) for tokens in seen.tokens]
    own = await engine.score(
        [
            SequenceScoreRequest(
                token_ids=(*tokens["prompt_token_ids"], *tokens["completion_token_ids"]),
                start=len(tokens["prompt_token_ids"]),
                temperature=TEMPERATURE,
                adapter=adapter,
            )
            for tokens, adapter in made
        ]
    )
    apart = (
        max(abs(a - b) for a, b in zip(result.logprobs, tokens["completion_logprobs"], strict=True))
        for result, (tokens, _) in zip(own, made, strict=True)
    )
    return [max(next(apart) for _ in seen.tokens) for seen in answers]
