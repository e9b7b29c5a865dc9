"""Own what a training is handed, beside what every kind of job is: its codec, and the memory that it may take."""

from collections.abc import Callable
from dataclasses import dataclass

from rlt_core.errors import ConfigurationError
from rlt_core.tokens import SequenceCodec
from rlt_train.room import Room, machine_room
from rlt_train.service_context import ServiceContext


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext(ServiceContext):
    """One attempt at one training. `connect` is called by kinds that need services, `room` before a model is loaded."""

    codec: SequenceCodec
    room: Callable[[], Room] = machine_room

    def check_format(self) -> None:
        """Raise ConfigurationError when this process would encode another format than the engine."""
        if self.codec.format_id != self.job.format_id:
            raise ConfigurationError(
                f"the trainer encodes {self.codec.format_id!r} but the job is for {self.job.format_id!r}: "
                "trainer and engine must run the same code on the same tokenizer"
            )
