"""Where nothing can be mounted, tests of a full disk are skipped and say why; where they are required, they fail."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.small_disk import REQUIRED, small_disk


def nothing_is_installed(folder: Path) -> None:
    """Leave the folder empty."""


def nobody_may_mount(folder: Path) -> None:
    for name in ("unshare", "nsenter"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("lay", "reason"), [(nothing_is_installed, "no unshare and nsenter"), (nobody_may_mount, "nobody may mount")]
)
@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("required", pytest.fail.Exception)])
def test_without_a_small_disk_a_test_is_left_out_unless_it_is_required(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lay: Callable[[Path], None],
    reason: str,
    required: str,
    outcome: type[BaseException],
) -> None:
    lay(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(REQUIRED, required)
    either = (pytest.skip.Exception, pytest.fail.Exception)
    with pytest.raises(either, match=reason) as caught, small_disk(tmp_path / "disk", size_mib=1):
        raise AssertionError("there is a disk")
    assert caught.type is outcome
