import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rlt_service.store.known_hashes import SETTLED_S, KnownHashes


class Reader:
    """Reads files as hashing does, and counts."""

    def __init__(self, *paths: Path) -> None:
        self.paths: Sequence[Path] = paths
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return "+".join(path.read_text() for path in self.paths)


def later(seconds: float = 60.0) -> Callable[[], float]:
    return lambda: time.time() + seconds


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_text("weights")
    return path


def test_what_has_not_changed_is_not_read_again(file: Path) -> None:
    known, reader = KnownHashes(clock=later()), Reader(file)
    assert [known.sha256([file], reader) for _ in range(3)] == ["weights"] * 3
    assert reader.times == 1


def rewrite(file: Path) -> None:
    """Write as many bytes, and put the modification time back as someone who hides it does."""
    stat = file.stat()
    file.write_text("WEIGHTS")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replace(file: Path) -> None:
    other = file.with_name("other")
    other.write_text("WEIGHTS")
    stat = file.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize("change", [rewrite, replace], ids=["rewritten", "replaced"])
def test_what_was_changed_is_read_again_even_if_it_looks_as_old_and_as_long(
    file: Path, change: Callable[[Path], None]
) -> None:
    known, reader = KnownHashes(clock=later()), Reader(file)
    known.sha256([file], reader)
    time.sleep(0.05)  # more than a tick of the file system's clock
    change(file)
    assert known.sha256([file], reader) == "WEIGHTS"


def test_a_change_to_any_of_several_files_counts(tmp_path: Path, file: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text("config")
    known, reader = KnownHashes(clock=later()), Reader(config, file)
    known.sha256([config, file], reader)
    time.sleep(0.05)
    config.write_text("CONFIG")
    assert known.sha256([config, file], reader) == "CONFIG+weights"


@pytest.mark.parametrize(
    "ago_s", [0.0, SETTLED_S - 1.0, -3600.0], ids=["now", "just now", "by a clock that was set back"]
)
def test_a_file_that_was_written_just_now_is_read_again(file: Path, ago_s: float) -> None:
    known, reader = KnownHashes(clock=later(ago_s)), Reader(file)
    for _ in range(2):
        known.sha256([file], reader)
    assert reader.times == 2


def test_a_file_that_changes_while_it_is_read_is_not_known(file: Path) -> None:
    known, reader = KnownHashes(clock=later()), Reader(file)

    def disturbed() -> str:
        found = reader()
        time.sleep(0.05)
        file.write_text("WEIGHTS")
        return found

    assert known.sha256([file], disturbed) == "weights"
    assert known.sha256([file], reader) == "WEIGHTS"


def test_a_file_that_is_gone_is_an_error_and_no_hash(file: Path) -> None:
    known, reader = KnownHashes(clock=later()), Reader(file)
    known.sha256([file], reader)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        known.sha256([file], reader)
