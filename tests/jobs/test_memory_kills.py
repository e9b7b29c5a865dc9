from pathlib import Path

import pytest

from rlt_service.jobs.memory_kills import memory_kills


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


VMSTAT = {"proc/vmstat": "pgfault 12\noom_kill 40\n"}
V1 = {"proc/self/cgroup": "4:memory:/a/b\n0::/\n", "sys/fs/cgroup/memory/a/b/memory.oom_control": "oom_kill 3\n"}
V2 = {"proc/self/cgroup": "0::/user/x\n", "sys/fs/cgroup/user/x/memory.events": "low 0\noom 2\noom_kill 5\n"}
CONTAINER = {"proc/self/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/memory.events": "oom 2\noom_kill 6\n"}


@pytest.mark.parametrize(
    ("files", "count"), [(V1, 3), (V2, 5), (CONTAINER, 6), ({}, 40), ({"proc/self/cgroup": "0::/\n"}, 40)]
)
def test_the_group_of_this_process_is_counted_and_the_machine_where_no_group_counts(
    tmp_path: Path, files: dict[str, str], count: int
) -> None:
    assert memory_kills(lay(tmp_path, VMSTAT | files)) == count


def test_where_nothing_counts_nothing_is_known(tmp_path: Path) -> None:
    assert memory_kills(tmp_path) is None
