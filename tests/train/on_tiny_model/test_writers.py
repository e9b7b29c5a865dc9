import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from transformers import TrainerCallback

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.trainer import ProgressEvent
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.rl import run_rl
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]


class Listening(RltGrpoTrainer):
    """Has a writer like those that transformers makes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

        class Writer(TrainerCallback):
            def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
                HEARD.append((state.global_step, dict(more["logs"])))

        self.add_callback(Writer())


HEARD: list[tuple[int, dict[str, Any]]] = []


def test_a_writer_hears_what_the_job_tells(world: Any, fake_services: Services) -> None:
    HEARD.clear()
    job = world.rl({"steps": 2})
    run_rl(world.context(job, fake_services(job)), trainer_class=Listening)
    told = [event for event in world.events(job) if isinstance(event, ProgressEvent)]
    heard = [(step, logs) for step, logs in HEARD if "loss" in logs]
    assert [step for step, _ in heard] == [event.step for event in told] == [1, 2]
    for (_, logs), event in zip(heard, told, strict=True):
        ours = {"r_ss", "r_kl", "uplift", "closed", "verbatim", "rollout_s", "logprob_gap_mean", "tokens_per_s"}
        assert {name: logs[f"rlt/{name}"] for name in ours} == {name: event.metrics[name] for name in ours}


def test_a_writer_that_is_not_installed_is_refused_with_the_way_to_install_it(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    job = world.warmup(report_to=["tensorboard"])
    with pytest.raises(ConfigurationError, match=r"pip install 'rlt\[tensorboard\]'"):
        run_warmup(world.context(job))


def test_tensorboard_writes_into_the_attempts_folder(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the package, which is not installed with the project: transformers' own callback calls it."""
    written: dict[str, list[int]] = {}

    class SummaryWriter:
        def __init__(self, log_dir: str) -> None:
            written["folder " + log_dir] = []

        def add_text(self, *_: Any) -> None: ...

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.setdefault(name, []).append(step)

        def flush(self) -> None: ...

        def close(self) -> None: ...

    package = ModuleType("tensorboard")
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined] - the stand-in's only name
    monkeypatch.setitem(sys.modules, "tensorboard", package)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr("rlt_train.writers.importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("transformers.integrations.integration_utils.is_tensorboard_available", lambda: True)
    job = world.warmup(report_to=["tensorboard"], max_steps=2)
    run_warmup(world.context(job))
    assert f"folder {job.attempt_dir}/tensorboard" in written
    assert written["train/loss"] == [1, 2]
