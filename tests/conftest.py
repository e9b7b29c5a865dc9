"""Fixtures that several folders share: the state folder with the converted model, and one real engine a session."""

import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from rlt_service.caches import cache_environment
from rlt_service.engine.factory import create_engine
from rlt_service.engine.protocol import Engine
from rlt_service.settings import Settings

# Machines are slow now and then; what a property holds does not depend on it.
settings.register_profile("any-machine", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


REAL_MODULE = "\npytestmark = [pytest.mark.real"
SLOWEST_FIRST = ("train", "launch", "jobs", "docs", "packaging", "demo")
"""Folders whose files take long: begun last, one of them would keep a single core busy at the end."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files whose tests are all real where none is wanted: they import vLLM and more, for seconds."""
    if "not real" in (config.getoption("-m") or "") and collection_path.suffix == ".py":
        return True if REAL_MODULE in collection_path.read_text(encoding="utf-8") else None
    return None


def pytest_collection_finish() -> None:
    """Keep what was imported out of every garbage collection to come: a tenth of the tests' time went there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow folders first; within a folder nothing moves."""
    ranks = {folder: rank for rank, folder in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.parent.name, len(ranks)))


@pytest.fixture(scope="session")
def rlt_home_models() -> Path:
    """Name the state folder that keeps the converted builtin model between runs."""
    return Path(os.environ.get("RLT_HOME") or Path(__file__).parents[1] / ".rlt")


@pytest.fixture(scope="module")
def warm_caches(rlt_home_models: Path) -> Iterator[None]:
    """Let engines on a state folder of their own use what was compiled before: it takes ten seconds an engine."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cache_environment(rlt_home_models).items():
            patch.setenv(name, value)
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def real_engine(rlt_home_models: Path) -> AsyncIterator[Engine]:
    """Start vLLM on SmolLM2-135M in float32 with room for two adapters; its tests run in the session's event loop."""
    engine = create_engine(Settings(home=rlt_home_models, dtype="float32", max_loras=2, max_lora_rank=16))
    await engine.start()
    yield engine
    await engine.stop()
