"""Own what a kind of job is handed that asks services and holds no model: the job, its voice, its stop flag."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rlt_core.schemas.trainer import TrainerJob
from rlt_train.events import EventWriter
from rlt_train.lifeline import StopFlag
from rlt_train.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContext:
    """One attempt at one job; `connect` is called once."""

    job: TrainerJob
    events: EventWriter
    stop: StopFlag
    connect: Callable[[], Services]

    @property
    def attempt_dir(self) -> Path:
        """The only folder to write to."""
        return Path(self.job.attempt_dir)
