"""A warm-up of all weights: a whole model comes out, and a resume goes on with it to the bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlt_core.artifacts import kind_of, weights_sha256
from rlt_core.errors import NotAvailableYetError
from rlt_core.schemas.trainer import CheckpointEvent, ProgressEvent, ResumePoint
from rlt_service.engine.full_weights import validate_full
from rlt_service.engine.protocol import FullRef
from rlt_train.rl import run_rl
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

STEPS = {"lora": None, "max_steps": 6, "epochs": 100.0, "learning_rate": 0.005, "save_every": 3}


def test_all_weights_learn_and_come_out_as_a_model_that_engines_take(world: Any) -> None:
    job = world.warmup(**STEPS)
    result = run_warmup(world.context(job))
    folder = Path(result.adapter_dir)
    assert (kind_of(folder), result.lora_rank, result.sha256) == ("full", None, weights_sha256(folder))
    validate_full(FullRef(version="tiny@1", path=folder, sha256=result.sha256), base=world.base_dir)
    losses = [event.metrics["loss"] for event in world.events(job) if isinstance(event, ProgressEvent)]
    assert losses[-1] < losses[0] - 0.1
    before, after = load_file(world.base_dir / "model.safetensors"), load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert str(world.base_dir) not in (folder / "config.json").read_text()
    AutoModelForCausalLM.from_pretrained(folder)


def test_a_warm_up_of_all_weights_that_is_taken_up_ends_with_the_same_bytes(world: Any) -> None:
    first = world.warmup(**STEPS)
    whole = run_warmup(world.context(first))
    saved = next(event for event in world.events(first) if isinstance(event, CheckpointEvent))
    assert saved.step == 3
    point = ResumePoint(attempt=1, step=3, folder=saved.path, manifest_sha256=saved.manifest_sha256)
    again = world.warmup(**STEPS).model_copy(update={"attempt": 2, "resume_points": [point]})
    resumed = run_warmup(world.context(again))
    assert [event.step for event in world.events(again) if isinstance(event, ProgressEvent)] == [4, 5, 6]
    assert resumed.sha256 == whole.sha256


def test_rl_of_all_weights_is_refused(world: Any, fake_services: Any) -> None:
    job = world.rl({"lora": None})
    with pytest.raises(NotAvailableYetError, match="give `lora`"):
        run_rl(world.context(job, fake_services(job)))
