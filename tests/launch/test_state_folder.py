import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlt_core.errors import ConfigurationError, StorageUnavailableError
from rlt_service.launch.state_folder import StateFolder, unusable


def test_a_missing_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "a" / "b") as folder:
        assert folder.logs.is_dir()
    assert not list((tmp_path / "a" / "b").glob(".write-check*"))


def test_services_that_start_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(max_workers=8) as starts:
        done = [starts.submit(StateFolder(tmp_path).prepare) for _ in range(200)]
    assert [start.exception() for start in done] == [None] * 200


def test_a_file_in_the_folder_s_place_is_said(tmp_path: Path) -> None:
    place = tmp_path / "home"
    place.write_text("a file")
    with pytest.raises(StorageUnavailableError, match=r"home cannot be used: it is a file.*--home"):
        StateFolder(place).prepare()


def test_a_file_on_the_way_to_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StorageUnavailableError, match="a part of its path is a file"):
        StateFolder(tmp_path / "file" / "home").prepare()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # /dev/full answers every write as a full disk does.
    full = "rlt_service.launch.state_folder.TemporaryFile"
    monkeypatch.setattr(full, lambda **_: open("/dev/full", "wb"))  # noqa: SIM115 - closed where it is used
    with pytest.raises(StorageUnavailableError, match="the disk is full: free some space"):
        StateFolder(tmp_path).prepare()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    # Nobody can make a folder here, root included.
    with pytest.raises(StorageUnavailableError, match=r"cannot be used: .*--home FOLDER or RLT_HOME"):
        StateFolder(Path("/proc/rlt-home")).prepare()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "it lies on a read-only file system: mount it for writing"),
        (errno.EACCES, "this user may not write there: change its owner or mode"),
        (errno.EPERM, "this user may not write there: change its owner or mode"),
        (errno.EDQUOT, "the disk quota is used up: free some space"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_each_reason_comes_with_what_to_do(number: int, words: str) -> None:
    said = unusable(Path("/state"), OSError(number, os.strerror(number)))
    assert said.detail == (
        f"the state folder /state cannot be used: {words}, or choose another one with --home FOLDER or RLT_HOME=FOLDER"
    )


def test_a_folder_of_another_user_is_said(tmp_path: Path) -> None:
    """Root may write anywhere, so the attempt is made by somebody else."""
    code = (
        "import os, sys; from pathlib import Path; from rlt_service.launch.state_folder import StateFolder as Folder\n"
        "os.getuid() or os.setuid(65534)\n"
        "Folder(Path(sys.argv[1])).prepare()"
    )
    tmp_path.chmod(0o555)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    tmp_path.chmod(0o755)
    assert "this user may not write there" in done.stderr.splitlines()[-1]


def test_a_second_launcher_is_told_who_has_the_folder(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as first:
        first.note(pid=4711, address="http://127.0.0.1:8400")
        with pytest.raises(ConfigurationError, match=r"process 4711 at http://127\.0\.0\.1:8400.*kill 4711"):
            StateFolder(tmp_path).take()


def test_a_second_launcher_is_refused_before_the_first_has_an_address(tmp_path: Path) -> None:
    with StateFolder(tmp_path), pytest.raises(ConfigurationError, match="only starting"):
        StateFolder(tmp_path).take()


def test_a_refused_launcher_leaves_the_first_one_s_note(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as first:
        first.note(pid=1, address="http://127.0.0.1:1")
        with pytest.raises(ConfigurationError), StateFolder(tmp_path):
            pass
        assert json.loads((tmp_path / "server.json").read_text()) == {"pid": 1, "address": "http://127.0.0.1:1"}


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as first:
        first.note(pid=1, address="http://127.0.0.1:1")
    assert not (tmp_path / "server.json").exists()
    with StateFolder(tmp_path):
        pass
