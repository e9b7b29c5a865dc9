"""Own the kernel's own count of processes that it has ended for want of memory (Linux; elsewhere nothing is known)."""

from collections.abc import Iterator
from pathlib import Path


def memory_kills(root: Path = Path("/")) -> int | None:
    """Count them in this process's memory group, or on the whole machine where no group counts; None: not known.

    `root` is where proc and sys lie.
    """
    for path in (*_group_counters(root), root / "proc/vmstat"):
        count = _count(path)
        if count is not None:
            return count
    return None


def _group_counters(root: Path) -> Iterator[Path]:
    """Give the files of this process's memory group: version 2 counts in memory.events, version 1 in oom_control."""
    mount = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        # In a container the path is often the host's, and the group itself is mounted at the top.
        groups = (group.lstrip("/"), "")
        if not controllers:
            yield from (mount / name / "memory.events" for name in groups)
        elif "memory" in controllers.split(","):
            yield from (mount / "memory" / name / "memory.oom_control" for name in groups)


def _count(path: Path) -> int | None:
    for line in _lines(path):
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
