"""Own the objects that all machines share: datasets and versions, which never change, in a store that fsspec reaches.

Keys hold hashes, so what is fetched proves itself. A version's list of files is written last: without, it is not there.
"""

import hashlib
import json
import os
import posixpath
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from rlt_core.artifacts import Kind, version_files, version_sha256
from rlt_core.errors import ConfigurationError, InconsistentStateError, StorageUnavailableError
from rlt_service.store.faults import RETRY_AFTER_S

LIST: Final = "files.json"


class FileSystem(Protocol):
    """What is used of an fsspec file system."""

    def put_file(self, lpath: str, rpath: str) -> Any:
        """Write a local file's content."""
        ...

    def get_file(self, rpath: str, lpath: str) -> Any:
        """Read into a local file; raises FileNotFoundError."""
        ...

    def pipe_file(self, path: str, value: bytes) -> Any:
        """Write bytes."""
        ...

    def cat_file(self, path: str) -> bytes:
        """Read bytes; raises FileNotFoundError."""
        ...

    def info(self, path: str) -> Any:
        """Describe what lies there; raises FileNotFoundError. Unlike it, `exists` says no where nobody answers."""
        ...

    def rm(self, path: str, recursive: bool = False) -> Any:
        """Delete; raises FileNotFoundError."""
        ...


class ObjectStore:
    """Datasets and versions below one place of a file system; every call waits for it."""

    def __init__(self, files: FileSystem, root: str) -> None:
        """Take a file system and where in it everything lies."""
        self._files = files
        self._root = root.rstrip("/")

    @classmethod
    def at(cls, url: str) -> "ObjectStore | None":
        """Open the store at an fsspec URL, such as `s3://bucket/rlt`; None for an empty one.

        Raises ConfigurationError for a kind of store that fsspec does not know, or whose package is not installed.
        """
        if not url:
            return None
        # Not at the top: whoever shares a folder, or nothing, needs none of it.
        import fsspec  # pyright: ignore[reportMissingTypeStubs]

        # What another machine writes or deletes must be seen, so nothing is remembered of what lay there.
        options = {"use_listings_cache": False}
        if url.startswith(("file:", "local:")) or "://" not in url:
            options["auto_mkdir"] = True
        reached: Any = fsspec
        try:
            files, root = reached.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(
                f"RLT_ARTIFACT_STORE is {url!r}: {error}. Name an fsspec URL, and install what reaches it, as s3fs."
            ) from error
        return cls(files, str(root))

    def is_begun(self) -> bool:
        """Tell whether anything lies there yet, and write nothing; raises StorageUnavailableError."""
        with _reached("look for anything"):
            return self._lies(self._root)

    def put_dataset(self, path: Path, *, dataset_id: str, sha256: str) -> None:
        """Write a dataset's file; raises StorageUnavailableError."""
        with _reached(f"write dataset {dataset_id}"):
            self._files.put_file(str(path), self._dataset(dataset_id, sha256))

    def get_dataset(self, target: Path, *, dataset_id: str, sha256: str) -> None:
        """Read a dataset into a file; raises InconsistentStateError where it is not there as it was registered."""
        with _reached(f"read dataset {dataset_id}"), _there(f"dataset {dataset_id}"):
            self._files.get_file(self._dataset(dataset_id, sha256), str(target))
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        _same(found, sha256, what=f"dataset {dataset_id}")

    def drop_dataset(self, *, dataset_id: str, sha256: str) -> None:
        """Delete a dataset's file; none there is fine."""
        self._drop(self._dataset(dataset_id, sha256), what=f"dataset {dataset_id}")

    def has_version(self, *, name: str, sha256: str) -> bool:
        """Tell whether a version's files are there: the list, and each that it names."""
        there, what = self._version(name, sha256), f"a version of {name}"
        with _reached(f"look for {what}"):
            try:
                names = _listed(self._files.cat_file(f"{there}/{LIST}"), what=what)
            except (FileNotFoundError, InconsistentStateError):
                return False
            return all(self._lies(f"{there}/{file}") for file in names)

    def put_version(self, folder: Path, kind: Kind, *, name: str, sha256: str) -> None:
        """Write a version's files, unless they are there; raises StorageUnavailableError."""
        if self.has_version(name=name, sha256=sha256):
            return
        there, names = self._version(name, sha256), version_files(folder, kind)
        with _reached(f"write a version of {name}"):
            for file in names:
                self._files.put_file(str(folder / file), f"{there}/{file}")
            self._files.pipe_file(f"{there}/{LIST}", json.dumps({"files": list(names)}).encode())

    def get_version(self, folder: Path, kind: Kind, *, name: str, sha256: str) -> None:
        """Read a version's files into an empty folder; raises InconsistentStateError as `get_dataset` does."""
        there, what = self._version(name, sha256), f"a version of {name} with sha256 {sha256}"
        with _reached(f"read {what}"), _there(what):
            for file in _listed(self._files.cat_file(f"{there}/{LIST}"), what=what):
                self._files.get_file(f"{there}/{file}", str(folder / file))
        try:
            found = version_sha256(folder, kind)
        except OSError as error:
            raise InconsistentStateError(f"The artifact store has not all files of {what}: {error}") from error
        _same(found, sha256, what=what)

    def drop_version(self, *, name: str, sha256: str) -> None:
        """Delete a version's files, the list first; none there is fine."""
        there = self._version(name, sha256)
        self._drop(f"{there}/{LIST}", what=f"a version of {name}")
        self._drop(there, what=f"a version of {name}")

    def _lies(self, path: str) -> bool:
        try:
            self._files.info(path)
        except FileNotFoundError:
            return False
        return True

    def _drop(self, path: str, *, what: str) -> None:
        with _reached(f"delete {what}"):
            try:
                self._files.rm(path, recursive=True)
            except FileNotFoundError:
                return

    def _dataset(self, dataset_id: str, sha256: str) -> str:
        return posixpath.join(self._root, "datasets", f"{dataset_id}-{sha256}.jsonl")

    def _version(self, name: str, sha256: str) -> str:
        return posixpath.join(self._root, "versions", name, sha256)


def _listed(content: bytes, *, what: str) -> Sequence[str]:
    """Read a list of files; a name that leads elsewhere is refused, since it becomes a path here."""
    try:
        named: list[object] = json.loads(content)["files"]
        if all(_is_plain(name) for name in named):
            return [str(name) for name in named]
    except (ValueError, KeyError, TypeError):
        pass
    raise InconsistentStateError(f"The list of files of {what} in the artifact store is none that this project wrote.")


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and name == os.path.basename(name) and name not in ("", ".", "..")


def _same(found: str, registered: str, *, what: str) -> None:
    if found != registered:
        raise InconsistentStateError(
            f"The artifact store has {what} with sha256 {found}, it was registered with {registered}: it was changed "
            "afterwards. Put back what was registered (RLT_ARTIFACT_STORE)."
        )


@contextmanager
def _there(what: str) -> Generator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InconsistentStateError(
            f"The artifact store has no {what}, which is registered: put it back (RLT_ARTIFACT_STORE)."
        ) from error


@contextmanager
def _reached(what: str) -> Generator[None]:
    try:
        yield
    except (FileNotFoundError, InconsistentStateError):
        raise
    except Exception as error:  # each kind of store raises errors of its own library, which are no common class
        raise StorageUnavailableError(
            f"Cannot {what} in the artifact store ({type(error).__name__}: {error}). See that RLT_ARTIFACT_STORE "
            "can be reached and written, then try again.",
            retry_after_s=RETRY_AFTER_S,
        ) from error
