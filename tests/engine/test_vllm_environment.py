import os
from pathlib import Path

import pytest

from rlt_service.engine.vllm_environment import vllm_environment

HOME = Path("state")
RUNNER = "VLLM_USE_V2_MODEL_RUNNER"


def test_vllm_chooses_its_runner_unless_the_older_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUNNER, raising=False)
    with vllm_environment(HOME):
        assert RUNNER not in os.environ
    with vllm_environment(HOME, v1_runner=True):
        assert os.environ[RUNNER] == "0"
    assert RUNNER not in os.environ


def test_processes_keep_their_memory_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    with vllm_environment(HOME):
        assert not os.environ.keys() & set(names)
    with vllm_environment(HOME, keep_memory=True):
        assert [int(os.environ[name]) for name in names] == [2**25, 2**31]


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUNNER, "1")
    with vllm_environment(HOME, v1_runner=True):
        assert os.environ[RUNNER] == "1"
    assert os.environ[RUNNER] == "1"
