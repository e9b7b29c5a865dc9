"""What vLLM reads from the environment: set while it is imported and while its processes start, then taken back."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rlt_core.log_records import FORMAT_VARIABLE
from rlt_service.caches import cache_environment
from rlt_service.engine.core_turns import TURNS_VARIABLE
from rlt_service.engine.machine import thread_binding
from rlt_service.engine.owner import OWNER_VARIABLE, tied_children
from rlt_service.logs import vllm_config

_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**31)}
"""For glibc: tensors of up to 32 MiB, the most that it takes, come from memory that stays. Mapped anew in each layer
they cost a page fault for every 4 KiB, more than SiLU or a copy does. Up to 2 GiB that are free stay with a process."""


@contextmanager
def vllm_environment(home: Path, *, v1_runner: bool = False, keep_memory: bool = False) -> Generator[None]:
    """Set our defaults for vLLM, its caches in the state folder `home`; with `v1_runner` its older model runner.

    Its processes keep what memory they had (`keep_memory`). What the user has set stays.
    """
    wanted = {
        **cache_environment(home),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "VLLM_CPU_OMP_THREADS_BIND": thread_binding(),
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        TURNS_VARIABLE: str(home / "cores.lock"),
    }
    if os.environ.get(FORMAT_VARIABLE) == "json":
        wanted["VLLM_LOGGING_CONFIG_PATH"] = str(vllm_config(home))
    if keep_memory:
        wanted |= _KEEP_MEMORY
    if v1_runner:
        wanted["VLLM_USE_V2_MODEL_RUNNER"] = "0"
    before = dict(os.environ)
    os.environ.update({name: value for name, value in wanted.items() if name not in before})
    os.environ[OWNER_VARIABLE] = str(os.getpid())
    try:
        with tied_children():
            yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
