"""Machines with folders of their own share datasets and versions by a store: put before a row, fetched and checked."""

import hashlib
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pytest

from rlt_core.artifacts import adapter_sha256, weights_sha256
from rlt_core.errors import ConfigurationError, InconsistentStateError, StorageUnavailableError
from rlt_core.schemas.base import new_id
from rlt_service.artifact_root import artifacts_of
from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.deletion import Deletion
from rlt_service.store.objects import ObjectStore
from rlt_service.store.registry import Candidate, Registry
from rlt_service.store.shared_files import fetch_dataset
from tests.store.test_registry import adapter

LINE = b'{"question": "2 + 3?", "solution": "5"}\n'


@dataclass(frozen=True)
class Machine:
    """One host: a folder of its own, the common database, the common store."""

    artifacts: ArtifactStore
    datasets: DatasetStore
    registry: Registry
    deletion: Deletion

    @classmethod
    def at(cls, root: Path, *, database: Database, objects: ObjectStore | None) -> "Machine":
        artifacts = ArtifactStore(root, objects=objects)
        registry = Registry(database, artifacts)
        registry.ensure_base(name="tiny", base_model="tiny-model", format="stratos@1")
        return cls(artifacts, DatasetStore(database, artifacts), registry, Deletion(database, artifacts))

    def upload(self) -> str:
        with self.artifacts.incoming_file() as path:
            path.write_bytes(LINE)
            sha256 = hashlib.sha256(LINE).hexdigest()
            made = self.datasets.create(
                name=None, path=path, rows=1, sha256=sha256, columns=["question"], size_bytes=len(LINE)
            )
        return made.id

    def register(self, *, full: bool = False, name: str = "algebra") -> str:
        folder = self.artifacts.root / "imports" / new_id("import")
        if full:
            folder.mkdir(parents=True)
            (folder / "config.json").write_text("{}")
            (folder / "model.safetensors").write_bytes(b"weights")
        else:
            adapter(folder)
        sha256 = weights_sha256(folder) if full else adapter_sha256(folder)
        rank = None if full else 16
        made = self.registry.register(
            Candidate(
                name=name,
                role="teacher",
                base_model="tiny-model",
                format="stratos@1",
                folder=folder,
                sha256=sha256,
                lora_rank=rank,
            )
        )
        return made.version

    def fetch(self, version: str) -> Path:
        found = self.registry.resolve("teacher", version)
        self.registry.fetch(found)
        files = found.full or found.adapter
        assert files is not None
        return files.path


@dataclass
class Shared:
    """The file system of a store, which tells what was read, and can take away what was just written, or be silent."""

    files: Any
    root: str
    read: list[str] = field(default_factory=list[str])
    steals: str = ""
    """How the name ends of what is taken away as soon as a version's list is written."""
    silent: bool = False

    def __getattr__(self, name: str) -> Any:
        """Give all else of the file system itself."""
        return getattr(self.files, name)

    def get_file(self, rpath: str, lpath: str) -> None:
        """Read, and note it."""
        self.read.append(rpath)
        self.files.get_file(rpath, lpath)

    def pipe_file(self, path: str, value: bytes) -> None:
        """Write, and lose it where that is wanted."""
        self.files.pipe_file(path, value)
        if self.steals:
            (stolen,) = [found for found in self.all() if found.endswith(self.steals)]
            self.files.rm(stolen)

    def rm(self, path: str, recursive: bool = False) -> None:
        """Delete, unless nobody answers."""
        if self.silent:
            raise TimeoutError("the store is silent")
        self.files.rm(path, recursive=recursive)

    def overwrite(self, ending: str, content: bytes) -> None:
        """Change what lies under the one key that ends so."""
        (path,) = [found for found in self.all() if found.endswith(ending)]
        self.files.pipe_file(path, content)

    def all(self) -> list[str]:
        """Give every key."""
        return self.files.find(self.root)


@pytest.fixture(params=["memory", "file"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Shared:
    if request.param == "memory":
        return Shared(fsspec.filesystem("memory"), f"/{uuid.uuid4().hex}")
    return Shared(fsspec.filesystem("file", auto_mkdir=True), str(tmp_path / "shared"))


@pytest.fixture
def objects(shared: Shared) -> ObjectStore:
    files: Any = shared
    return ObjectStore(files, shared.root)


@pytest.fixture
def one(tmp_path: Path, database: Database, objects: ObjectStore) -> Machine:
    return Machine.at(tmp_path / "one", database=database, objects=objects)


@pytest.fixture
def two(tmp_path: Path, database: Database, objects: ObjectStore) -> Machine:
    return Machine.at(tmp_path / "two", database=database, objects=objects)


def test_a_dataset_of_one_machine_is_read_on_another(one: Machine, two: Machine) -> None:
    dataset = one.upload()
    assert two.datasets.rows(dataset).total == 1
    assert two.datasets.path(dataset).read_bytes() == LINE
    assert two.datasets.path(dataset).is_relative_to(two.artifacts.root)
    assert list((two.artifacts.root / "incoming").iterdir()) == []


def test_what_was_fetched_once_is_not_asked_for_again(one: Machine, two: Machine, shared: Shared) -> None:
    dataset, version = one.upload(), one.register()
    for machine in (one, two, two, one):
        machine.datasets.path(dataset)
        machine.fetch(version)
    assert len(shared.read) == len(set(shared.read)) == 3


@pytest.mark.parametrize("full", [False, True])
def test_a_version_of_one_machine_serves_on_another(one: Machine, two: Machine, full: bool) -> None:
    version = one.register(full=full)
    folder = two.fetch(version)
    assert folder.is_relative_to(two.artifacts.root)
    assert folder.stat().st_mode & 0o777 == 0o755
    two.registry.check_files(two.registry.resolve("teacher", version))


def test_threads_that_want_the_same_fetch_it_once(one: Machine, two: Machine, shared: Shared) -> None:
    version = one.register()
    threads = [threading.Thread(target=two.fetch, args=(version,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shared.read) == len(set(shared.read)) == 2


def test_what_was_changed_in_the_store_is_refused_and_leaves_nothing(
    one: Machine, two: Machine, shared: Shared
) -> None:
    dataset, version = one.upload(), one.register()
    shared.overwrite(".jsonl", LINE + LINE)
    shared.overwrite("model.safetensors", b"other")
    with pytest.raises(InconsistentStateError, match="it was changed afterwards"):
        two.datasets.path(dataset)
    with pytest.raises(InconsistentStateError, match="it was changed afterwards"):
        two.fetch(version)
    assert not two.artifacts.dataset_path(dataset).exists()
    assert not two.artifacts.version_dir("algebra", 1).exists()
    assert list((two.artifacts.root / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    "listed", [b"no json", b'{"files": ["../x"]}', b'{"files": ["a/b"]}', b'{"files": [3]}', b"[1]", b'{"files": 3}']
)
def test_a_list_of_files_that_leads_elsewhere_is_refused(
    one: Machine, two: Machine, shared: Shared, listed: bytes
) -> None:
    version = one.register()
    shared.overwrite("files.json", listed)
    with pytest.raises(InconsistentStateError, match="none that this project wrote"):
        two.fetch(version)


def test_what_the_store_has_lost_is_said(one: Machine, two: Machine, objects: ObjectStore) -> None:
    dataset, version = one.upload(), one.register()
    found = one.registry.resolve("teacher", version)
    assert found.adapter is not None
    objects.drop_version(name="algebra", sha256=found.adapter.sha256)
    objects.drop_dataset(dataset_id=dataset, sha256=one.datasets.get(dataset).sha256)
    with pytest.raises(InconsistentStateError, match=f"has no dataset {dataset}, which is registered"):
        two.datasets.path(dataset)
    with pytest.raises(InconsistentStateError, match="which is registered"):
        two.fetch(version)


def test_the_end_of_a_dataset_and_of_a_version_is_their_end_in_the_store(
    one: Machine, two: Machine, shared: Shared
) -> None:
    dataset, version = one.upload(), one.register()
    assert len(shared.all()) == 4
    two.datasets.delete(dataset)
    two.deletion.delete(version)
    assert shared.all() == []


def test_files_that_two_versions_have_in_common_end_with_the_second(one: Machine, two: Machine, shared: Shared) -> None:
    first, second = one.register(), one.register()
    one.deletion.delete(first)
    assert two.fetch(second).is_dir()
    two.deletion.delete(second)
    assert shared.all() == []


@pytest.mark.parametrize("stolen", ["files.json", "model.safetensors"])
def test_a_version_whose_files_go_while_it_is_registered_is_not_registered(
    one: Machine, two: Machine, shared: Shared, stolen: str
) -> None:
    shared.steals = stolen
    with pytest.raises(StorageUnavailableError, match="Try again"):
        one.register()
    shared.steals = ""
    assert one.register() == "algebra@1"
    assert two.fetch("algebra@1").is_dir()


def test_a_list_that_nobody_can_read_is_written_anew(one: Machine, two: Machine, shared: Shared) -> None:
    one.register()
    shared.overwrite("files.json", b"no json")
    assert two.fetch(one.register()).is_dir()


def test_where_the_store_is_silent_a_dataset_stays_and_is_deleted_later(one: Machine, shared: Shared) -> None:
    dataset = one.upload()
    shared.silent = True
    with pytest.raises(StorageUnavailableError, match="the store is silent"):
        one.datasets.delete(dataset)
    assert one.datasets.rows(dataset).total == 1
    shared.silent = False
    one.datasets.delete(dataset)
    assert shared.all() == []


def test_where_the_store_is_silent_a_version_ends_and_its_files_go_later(
    one: Machine, two: Machine, shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    version = one.register()
    shared.silent = True
    assert one.deletion.delete(version) == version
    assert "files of algebra@1 stay until the next deletion or start" in caplog.text
    assert len(shared.all()) == 3
    shared.silent = False
    two.deletion.sweep()
    assert shared.all() == []


def test_an_upload_that_finds_no_room_here_leaves_nothing_there(
    one: Machine, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Path) -> None:
        raise StorageUnavailableError("no room")

    monkeypatch.setattr(one.artifacts, "keep_file", full)
    with pytest.raises(StorageUnavailableError, match="no room"):
        one.upload()
    assert shared.all() == []


def test_a_store_is_asked_whether_anything_lies_there(one: Machine, objects: ObjectStore) -> None:
    assert not objects.is_begun()
    one.upload()
    assert objects.is_begun()
    files: Any = Down()
    with pytest.raises(StorageUnavailableError, match="no route to the store"):
        ObjectStore(files, "bucket").is_begun()


class Down:
    """A store that nobody reaches."""

    def __getattr__(self, _: str) -> Any:
        """Give a call that fails, whatever it is."""

        def call(*_arguments: Any, **_options: Any) -> Any:
            raise RuntimeError("no route to the store")

        return call


def test_what_cannot_be_shared_is_not_registered(tmp_path: Path, database: Database) -> None:
    files: Any = Down()
    down = Machine.at(tmp_path / "down", database=database, objects=ObjectStore(files, "bucket"))
    with pytest.raises(StorageUnavailableError, match=r"no route to the store.*RLT_ARTIFACT_STORE"):
        down.upload()
    with pytest.raises(StorageUnavailableError, match="no route to the store"):
        down.register()
    assert down.datasets.list().data == []
    assert list((down.artifacts.root / "incoming").iterdir()) == []


def test_without_a_store_nothing_is_fetched_and_nothing_shared(tmp_path: Path, database: Database) -> None:
    alone = Machine.at(tmp_path / "alone", database=database, objects=None)
    dataset, version = alone.upload(), alone.register()
    assert alone.datasets.path(dataset).read_bytes() == LINE
    assert alone.fetch(version).is_dir()
    assert not fetch_dataset(alone.artifacts, dataset_id=new_id("ds"), sha256="0" * 64).exists()


def test_the_setting_names_the_store(tmp_path: Path) -> None:
    assert artifacts_of(Settings(home=tmp_path)).objects is None
    assert artifacts_of(Settings(home=tmp_path, artifact_store="memory://x")).objects is not None
    with pytest.raises(ConfigurationError, match=r"RLT_ARTIFACT_STORE is 'nowhere://x'"):
        artifacts_of(Settings(home=tmp_path, artifact_store="nowhere://x"))
