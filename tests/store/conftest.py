from collections.abc import Iterator
from pathlib import Path

import pytest

from rlt_core.schemas.jobs import RlSpec, WarmupSpec
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.jobs import JobStore
from rlt_service.store.registry import Registry


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.start()
    yield database
    database.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def jobs(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
def datasets(database: Database, artifacts: ArtifactStore) -> DatasetStore:
    return DatasetStore(database, artifacts)


@pytest.fixture
def registry(database: Database, artifacts: ArtifactStore) -> Registry:
    registry = Registry(database, artifacts)
    registry.ensure_base(name="tiny", base_model="tiny-model", format="stratos@1")
    return registry


@pytest.fixture
def warmup() -> WarmupSpec:
    return WarmupSpec(kind="warmup", role="teacher", dataset="ds_none", target_name="algebra")


@pytest.fixture
def rl() -> RlSpec:
    return RlSpec(kind="rl", dataset="ds_none", target_name="algebra", steps=5)
