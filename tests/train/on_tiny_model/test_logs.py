import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlt_core.log_records import JsonLines
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.trainer import TrainerJob
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

CANARY = "canarybird"


def run(job: TrainerJob, folder: Path, *, form: str) -> tuple[int, str]:
    """Run the trainer as a supervisor does; gives its exit code and its log."""
    path, log = folder / "job.json", folder / "trainer.log"
    path.write_text(job.model_dump_json())
    with log.open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "rlt_train", "--no-watch", "--job", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"RLT_LOG_FORMAT": form},
            check=False,
            timeout=300,
        )
    return done.returncode, log.read_text()


def test_a_trainer_logs_records_with_job_attempt_and_step_and_no_row(world: Any, tmp_path: Path) -> None:
    rows = world.dataset.read_text().splitlines()
    bird = DatasetRow(question=f"why {CANARY}?", solution=CANARY, reasoning_trace=CANARY)
    world.dataset.write_text("\n".join([*rows, bird.model_dump_json()]) + "\n")
    job = world.warmup()
    code, log = run(job, tmp_path, form="json")
    assert code == 0, log
    records = [json.loads(line) for line in log.splitlines()]
    done = [record for record in records if record["logger"] == "rlt_train.training"]
    assert [(record["job"], record["attempt"], record["step"]) for record in done] == [
        (job.job_id, 1, step) for step in (1, 2, 3)
    ]
    assert CANARY not in log


def test_a_trainer_that_breaks_says_why_in_one_record(world: Any, tmp_path: Path) -> None:
    job = world.warmup()
    world.dataset.write_text(f"{CANARY}\n")
    code, log = run(job, tmp_path, form="json")
    assert code == 1
    broke = [record for record in map(json.loads, log.splitlines()) if record["level"] == "error"]
    assert [record["job"] for record in broke] == [job.job_id]
    assert "Traceback" not in log
    assert "data.py" in broke[0]["error"]
    assert CANARY not in log


def test_records_after_a_training_name_no_step_of_it(world: Any) -> None:
    run_warmup(world.context(world.warmup(max_steps=1)))
    assert "step" not in json.loads(JsonLines().format(logging.makeLogRecord({"msg": "after"})))


def test_text_is_for_people(world: Any, tmp_path: Path) -> None:
    code, log = run(world.warmup(), tmp_path, form="text")
    assert code == 0
    assert "INFO rlt_train.training: step 2 of 2 is done" in log
