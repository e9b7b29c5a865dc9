"""Fixtures that several folders share: the state folder with the converted model, and one real engine a session."""

import gc
import os
import re
from collections.abc import AsyncIterator, Iterator, Set
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from _pytest.mark.expression import Expression, ExpressionMatcher
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from rlt_service.caches import cache_environment
from rlt_service.engine.factory import create_engine
from rlt_service.engine.protocol import Engine
from rlt_service.settings import Settings
from tests.support.engine_sharing import SHARED, SharedEngineScheduling, keep_to_own_cores, unit_of
from tests.support.postgres import postgres_url
from tests.support.schema import lay_schema

# Machines are slow now and then; what a property holds does not depend on it.
ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples each time: a test that fails fails again. `make fuzz` draws others, and many.
settings.register_profile("ci", ANY_MACHINE, derandomize=True)
settings.register_profile("fuzz", ANY_MACHINE, max_examples=2000, derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


KINDS = ("real", "processes", "training", "fuzz")
"""Markers of the tests that `make fast` leaves out."""
SLOWEST_FIRST = ("reliability", "topology", "fuzz", "dashboard", "train", "launch", "jobs", "docs", "packaging", "demo")
"""Folders whose files take long: begun last, one of them would keep a single core busy at the end."""


def pytest_configure(config: pytest.Config) -> None:
    """Give each process that runs tests of the real engine cores of its own."""
    if _is_real(config):
        keep_to_own_cores()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Have files that share a real engine run by one process."""
    return SharedEngineScheduling(config, log) if _is_real(config) else None


def _is_real(config: pytest.Config) -> bool:
    return config.getoption("-m") == "real"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files and folders none of whose tests is wanted: some import vLLM or TRL, for seconds a worker."""
    wanted = config.getoption("-m")
    files = list(collection_path.rglob("test_*.py")) if collection_path.is_dir() else [collection_path]
    if not wanted or not all(path.name.startswith("test_") for path in files):
        return None
    return None if any(_may_hold(path, Expression.compile(wanted)) for path in files) else True


def _may_hold(path: Path, wanted: Expression) -> bool:
    text = path.read_text(encoding="utf-8")
    of_file = {kind for kind in KINDS if re.search(rf"^pytestmark = .*\bmark\.{kind}\b", text, re.MULTILINE)}
    of_tests = {kind for kind in KINDS if f"mark.{kind}" in text} - of_file
    may_be = (of_file, *(of_file | {kind} for kind in of_tests))
    return any(wanted.evaluate(_is_one_of(kinds)) for kinds in may_be)


def _is_one_of(kinds: Set[str]) -> ExpressionMatcher:
    def matches(name: str, /, **_: str | int | bool | None) -> bool:
        return name in kinds

    return matches


def pytest_collection_finish() -> None:
    """Keep what was imported out of every garbage collection to come: a tenth of the tests' time went there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put first what takes long: slow folders, of the real tests what shares an engine; nothing else moves."""
    if _is_real(config):
        items.sort(key=lambda item: SHARED.index(unit_of(item.path)) if unit_of(item.path) in SHARED else len(SHARED))
        return
    ranks = {folder: rank for rank, folder in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.parent.name, len(ranks)))


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of a fresh database with the schema, once on each kind that is supported."""
    if request.param == "sqlite":
        yield lay_schema(tmp_path)
        return
    with postgres_url() as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def module_database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give what `database_url` gives, once a module."""
    if request.param == "sqlite":
        yield lay_schema(tmp_path_factory.mktemp("database"))
        return
    with postgres_url() as url:
        yield url


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
