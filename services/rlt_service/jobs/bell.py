"""Own the message that starts work: it names a queue, never a job. Ringing may fail; the outbox remembers."""

import logging
from typing import Any, Protocol

from kombu.exceptions import OperationalError

from rlt_core.errors import UnavailableError
from rlt_service.jobs.celery_app import TASK
from rlt_service.store.outbox import Outbox

LOGGER = logging.getLogger(__name__)


class Bell(Protocol):
    """What wakes a worker up."""

    def ring(self, queue: str) -> None:
        """Send one message; raises UnavailableError when the broker is away."""
        ...

    def sounding(self, queue: str) -> bool:
        """Whether a message already waits to be heard; raises UnavailableError."""
        ...


class CeleryBell:
    """The bell by way of the broker."""

    def __init__(self, celery: Any) -> None:
        """Take an app made by make_celery."""
        self._celery = celery

    def ring(self, queue: str) -> None:
        """Send one message; raises UnavailableError when the broker is away."""
        try:
            self._celery.send_task(TASK, args=[queue], queue=queue, retry=False, ignore_result=True)
        except (OperationalError, OSError) as error:
            raise _away(error) from error

    def sounding(self, queue: str) -> bool:
        """Whether a message already waits to be heard; raises UnavailableError."""
        try:
            with self._celery.connection_for_write() as connection:
                found = connection.default_channel.queue_declare(queue=queue, passive=False)
        except (OperationalError, OSError) as error:
            raise _away(error) from error
        return int(found.message_count) > 0


def ring_owed(outbox: Outbox, bell: Bell) -> None:
    """Ring every bell that a submission is owed, then forget it; raises UnavailableError, and then nothing is lost."""
    for queue, up_to in outbox.owed():
        bell.ring(queue)
        outbox.rung(queue, up_to=up_to)


def ring_again(outbox: Outbox, bell: Bell) -> None:
    """Ring for due rows that wait although no bell sounds, with exponential back-off."""
    for queue in outbox.waiting():
        if not bell.sounding(queue) and outbox.take_turn(queue):
            LOGGER.info("ringing again for queue %s", queue)
            bell.ring(queue)


def _away(error: Exception) -> UnavailableError:
    return UnavailableError(
        f"The broker does not answer ({type(error).__name__}: {error}); submitted jobs wait in the database. "
        "Start it again, or look at RLT_BROKER_URL.",
        retry_after_s=5.0,
    )
