import errno
import os
from pathlib import Path
from typing import Any

import pytest

from rlt_core.errors import EngineUnavailableError
from rlt_core.schemas.trainer import EXIT_FAILURE, EXIT_SUCCESS, ErrorEvent, ResultEvent
from rlt_train.__main__ import error_event, main
from rlt_train.metering import TOKENS

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("own_handler")]


def run(world: Any, job: Any) -> int:
    path = world.root / "job.json"
    path.write_text(job.model_dump_json())
    return main(["--job", str(path), "--no-watch"])


def test_success_is_a_result_event_and_exit_zero(world: Any) -> None:
    job = world.warmup(max_steps=1)
    assert run(world, job) == EXIT_SUCCESS
    last = world.events(job)[-1]
    assert isinstance(last, ResultEvent)
    assert (Path(last.adapter_dir) / "adapter_config.json").is_file()
    assert last.cost.keys() >= {"total_s", "trained_tokens", *TOKENS}
    assert last.cost["total_s"] >= last.cost["train_s"] > 0.0


def test_failure_is_an_error_event_and_exit_one(world: Any) -> None:
    job = world.warmup().model_copy(update={"dataset_path": str(world.root / "bad.jsonl")})
    Path(job.dataset_path).write_text('{"id": "a", "question": "q", "solution": "s"}\n{"question": ""}\n')
    assert run(world, job) == EXIT_FAILURE
    last = world.events(job)[-1]
    assert isinstance(last, ErrorEvent)
    assert (last.code, last.retryable) == ("invalid", False)
    assert "line 2" in last.message


def test_format_of_the_engine_must_be_that_of_the_trainer(world: Any) -> None:
    job = world.warmup().model_copy(update={"format_id": "stratos@1+folded"})
    assert run(world, job) == EXIT_FAILURE
    last = world.events(job)[-1]
    assert isinstance(last, ErrorEvent)
    assert last.code == "configuration"


def test_one_of_several_ranks_is_refused_before_it_writes_anything(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    job = world.warmup()
    assert run(world, job) == EXIT_FAILURE
    [only] = world.events(job)
    assert isinstance(only, ErrorEvent)
    assert (only.code, "as 2 ranks" in only.message) == ("configuration", True)
    assert {path.name for path in Path(job.attempt_dir).iterdir()} == {"broken-rank", "events.jsonl"}


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (EngineUnavailableError("away"), "engine_unavailable", True),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full", True),
        (OSError(errno.EROFS, "Read-only file system"), "disk_full", True),
        (ValueError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk_full", True),
        (MemoryError(), "out_of_memory", False),
        (RuntimeError("CUDA out of memory"), "out_of_memory", False),
        (KeyError("x"), "trainer_failed", False),
    ],
)
def test_errors_have_stable_codes(error: Exception, code: str, retryable: bool, tmp_path: Path) -> None:
    event = error_event(error, folder=tmp_path)
    assert (event.code, event.retryable) == (code, retryable)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_folder_of_its_own_that_may_not_be_written_is_a_full_disk_and_a_file_elsewhere_is_not(
    number: int, tmp_path: Path
) -> None:
    mine, elsewhere = tmp_path / "checkpoints" / ".step-2.part", tmp_path.parent / "base" / "config.json"
    assert error_event(OSError(number, "refused", str(mine)), folder=tmp_path).code == "disk_full"
    assert error_event(OSError(number, "refused", str(elsewhere)), folder=tmp_path).code == "trainer_failed"


def test_torch_does_not_say_that_a_folder_became_read_only_so_the_folder_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    assert error_event(error, folder=tmp_path).code == "trainer_failed"
    monkeypatch.setattr("os.access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    assert error_event(error, folder=tmp_path).code == "disk_full"
