"""Own how much memory this process may still take: of the machine, of its container, or of the accelerator."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

SPARED = 0.2
"""Share of what is free that no plan counts on: measured peaks lie up to 22% above the sum (docs/training.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Bytes that may be taken, and whose they are."""

    free: int
    where: str


def machine_room() -> Room:
    """Look where training will happen, on the first accelerator, else on this machine, and leave a fifth unused."""
    if torch.cuda.is_available():
        found = Room(free=torch.cuda.mem_get_info()[0], where=torch.cuda.get_device_name())
    else:
        found = host_room(free=psutil.virtual_memory().available)
    return Room(free=int(found.free * (1.0 - SPARED)), where=found.where)


def host_room(*, free: int, root: Path = Path("/")) -> Room:
    """Take the least of what the machine has free and what this process's memory groups (Linux) leave it.

    `root` is where proc and sys lie. A group's cache of files counts as free: the kernel drops it first.
    """
    rooms = [Room(free=free, where="this machine"), *_groups(root)]
    return min(rooms, key=lambda room: room.free)


def _groups(root: Path) -> Iterator[Room]:
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        # In a container the path is often the host's, and the group itself is mounted at the top.
        for name in (group.lstrip("/"), ""):
            if not controllers:
                yield from _left(mount / name, limit="memory.max", used="memory.current", prefix="")
            elif "memory" in controllers.split(","):
                folder = mount / "memory" / name
                limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
                yield from _left(folder, limit=limit, used=used, prefix="total_")


def _left(folder: Path, *, limit: str, used: str, prefix: str) -> Iterator[Room]:
    most, now = _text(folder / limit).strip(), _text(folder / used).strip()
    if not most.isdecimal() or not now.isdecimal():
        return  # no group here, or one without a limit ("max")
    stat = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
    cache = sum(int(stat.get(f"{prefix}{kind}_file", "0")) for kind in ("active", "inactive"))
    yield Room(free=max(int(most) - int(now) + cache, 0), where="the memory group of this process")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
