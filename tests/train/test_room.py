from pathlib import Path

import pytest

from rlt_train.room import Room, host_room

MACHINE = Room(free=1000, where="this machine")
V2 = {
    "proc/self/cgroup": "0::/user/x\n",
    "sys/fs/cgroup/user/x/memory.max": "900\n",
    "sys/fs/cgroup/user/x/memory.current": "600\n",
    "sys/fs/cgroup/user/x/memory.stat": "anon 500\ninactive_file 50\nactive_file 20\n",
}
V1 = {
    "proc/self/cgroup": "4:cpu:/a\n5:memory:/a\n",
    "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "900\n",
    "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "600\n",
    "sys/fs/cgroup/memory/a/memory.stat": "cache 100\ntotal_inactive_file 50\ntotal_active_file 20\n",
}
CONTAINER = {"proc/self/cgroup": "0::/docker/abc\n"} | {
    path.replace("user/x/", ""): text for path, text in V2.items() if path.startswith("sys")
}


@pytest.mark.parametrize("files", [V2, V1, CONTAINER])
def test_a_group_s_limit_counts_where_it_leaves_less_than_the_machine(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    # 900 - 600 that are used + 70 of these that are a cache of files.
    assert host_room(free=1000, root=tmp_path) == Room(free=370, where="the memory group of this process")
    assert host_room(free=200, root=tmp_path) == Room(free=200, where="this machine")


def test_a_group_without_a_limit_leaves_what_the_machine_has(tmp_path: Path) -> None:
    assert host_room(free=1000, root=tmp_path) == MACHINE
    for name, text in (V2 | {"sys/fs/cgroup/user/x/memory.max": "max\n"}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert host_room(free=1000, root=tmp_path) == MACHINE
