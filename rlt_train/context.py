"""Own what every kind of job is handed: the job, its voice, its stop flag, its services."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.trainer import TrainerJob
from rlt_core.tokens import SequenceCodec
from rlt_train.events import EventWriter
from rlt_train.lifeline import StopFlag
from rlt_train.room import Room, machine_room
from rlt_train.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """One attempt at one job. `connect` is called by kinds that need services, `room` before a model is loaded."""

    job: TrainerJob
    events: EventWriter
    stop: StopFlag
    codec: SequenceCodec
    connect: Callable[[], Services]
    room: Callable[[], Room] = machine_room

    @property
    def attempt_dir(self) -> Path:
        """The only folder to write to."""
        return Path(self.job.attempt_dir)

    def check_format(self) -> None:
        """Raise ConfigurationError when this process would encode another format than the engine."""
        if self.codec.format_id != self.job.format_id:
            raise ConfigurationError(
                f"the trainer encodes {self.codec.format_id!r} but the job is for {self.job.format_id!r}: "
                "trainer and engine must run the same code on the same tokenizer"
            )
