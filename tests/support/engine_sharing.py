"""Several processes that run tests of the real engine: whose files are whose, and which cores.

Two engines that compute on the same cores wait for each other at every barrier and take three times as long
(rlt_service.engine.core_turns). On cores of their own they do not meet, and what takes one core anyway, the imports
of vLLM's processes, goes on at the same time.
"""

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

_FIXTURES: Mapping[str, str] = {"real_engine": "engine", "real_up": "server", "real_client": "server"}
"""What lives as long as the run and starts for half a minute."""
SHARED = ("engine", "server")
"""In the order in which they begin, before all files that start engines of their own."""


class SharedEngineScheduling(LoadScopeScheduling):
    """Hand out files one by one, but all that share an engine to one process.

    pytest-xdist's own way to say so, its mark `xdist_group`, does nothing with pytest 9.2 (seen with 3.8.0).
    """

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(self.config.rootpath / nodeid.partition("::")[0])


@cache
def unit_of(file: Path) -> str:
    """Name the engine whose fixture a file of tests uses, or the file itself."""
    text = file.read_text(encoding="utf-8")
    found = (unit for name, unit in _FIXTURES.items() if re.search(rf'\b{name}: |"{name}"', text))
    return next(found, str(file))


def keep_to_own_cores(environment: Mapping[str, str] = os.environ) -> None:
    """Keep this process, and all that it starts, to its share of the cores; alone it keeps them all."""
    number = environment.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    count = environment.get("PYTEST_XDIST_WORKER_COUNT", "1")
    os.sched_setaffinity(0, own_share(sorted(os.sched_getaffinity(0)), number=int(number), count=int(count)))


def own_share(cores: Sequence[int], *, number: int, count: int) -> Sequence[int]:
    """Give the cores of process `number` of `count`, as equal in size as they can be; all where there are too few."""
    share = cores[number * len(cores) // count : (number + 1) * len(cores) // count]
    return share if len(cores) >= count else cores
