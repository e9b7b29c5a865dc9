"""A disk of a few megabytes: a tmpfs in a mount namespace of its own, which goes with the process that holds it."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = "RLT_TEST_SMALL_DISK"
"""Set to `required` where the tests must not be left out: in CI, where mounts are allowed."""
NAMESPACES = (("--mount",), ("--mount", "--user", "--map-root-user"))
"""Root may mount as it is; others may in a user namespace, where the kernel lets them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDisk:
    """Those who run inside see it at `path`; from outside the same files are at `seen`."""

    path: Path
    holder: int
    enter: Sequence[str]

    def command(self, *arguments: str) -> list[str]:
        """Wrap a command so that it runs where the disk is mounted."""
        return [*self.enter, "--", *arguments]

    def run(self, *arguments: str) -> str:
        """Run a command inside, to its end; gives what it printed."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=True).stdout

    @property
    def seen(self) -> Path:
        return Path(f"/proc/{self.holder}/root") / self.path.relative_to("/")

    def fill(self) -> None:
        """Leave no room."""
        with contextlib.suppress(OSError), (self.seen / "ballast").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        with contextlib.suppress(OSError), (self.seen / "ballast").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1))

    def free(self) -> None:
        """Make room again."""
        (self.seen / "ballast").unlink()

    def mount_again(self, option: str) -> None:
        """Make it read-only (`ro`) or writable (`rw`)."""
        self.run("mount", "-o", f"remount,{option}", str(self.path))

    @contextlib.contextmanager
    def read_only(self, folder: Path) -> Generator[None]:
        """Let a folder on it, named as from inside, be read and no more until the block ends.

        By a mount over it: files that are open for writing, such as logs, forbid that the disk itself is made so.
        """
        self.run("mount", "--bind", str(folder), str(folder))
        self.run("mount", "-o", "remount,bind,ro", str(folder))
        try:
            yield
        finally:
            self.run("umount", "--lazy", str(folder))


@contextlib.contextmanager
def small_disk(path: Path, *, size_mib: int) -> Generator[SmallDisk]:
    """Mount it at `path` until the block ends; skips the test where nobody may mount, unless it is required."""
    path.mkdir(parents=True, exist_ok=True)
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        _leave_out("no unshare and nsenter here: nothing is mounted, so a full disk is not tried")
    script = 'mount -t tmpfs -o size="$2"m tmpfs "$1" && echo mounted && exec cat'
    for options in NAMESPACES:
        # It ends with its standard input, also where the tests are killed.
        holder = subprocess.Popen(
            ["unshare", *options, "sh", "-c", script, "sh", str(path), str(size_mib)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            if holder.stdout.readline() == b"mounted\n":
                user = ["--user", "--preserve-credentials"] if "--user" in options else []
                enter = ["nsenter", f"--target={holder.pid}", "--mount", *user, f"--wd={os.getcwd()}"]
                yield SmallDisk(path=path, holder=holder.pid, enter=enter)
                return
        finally:
            holder.stdin.close()
            holder.stdout.close()
            holder.wait(timeout=10)
    _leave_out("nobody may mount here (no CAP_SYS_ADMIN, no user namespaces): a full disk is not tried")


def _leave_out(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(reason)
    pytest.skip(reason)
