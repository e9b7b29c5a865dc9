"""Own the following of a job's events: each once, in order, until the job has ended. No HTTP."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import TERMINAL, Job, JobEvent
from rlt_service.control.shared_looks import SharedLooks
from rlt_service.store.jobs import JobStore

PAGE = 500
Seen = tuple[Job, Sequence[JobEvent]]
"""A job, and its events after the last that a reader has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nothing happened for a while; the connection is still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """The server stops; what has not been told is told to whoever comes back."""


Told = JobEvent | Silence | Job | Leaving
"""What a feed says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFeed:
    """Reads the store again and again: any process may write the events, and any may read them."""

    jobs: JobStore
    leaving: threading.Event = field(default_factory=threading.Event)
    """Set, a feed ends early: the server stops, and a reader goes on elsewhere or later."""
    looks: SharedLooks[Seen] = field(default_factory=SharedLooks[Seen])
    """Shared with the other feeds of the process."""
    poll_s: float = 0.3
    keep_alive_s: float = 15.0

    async def follow(self, job_id: str, *, after_seq: int) -> AsyncIterator[Told]:
        """Give events after `after_seq` as they come, Silence between, last the ended job or Leaving; NotFoundError.

        It reads one page ahead of its reader, however slow that is.
        """
        last_s = time.monotonic()
        job, events = await asyncio.to_thread(self._look, job_id, after_seq=after_seq)
        while not self.leaving.is_set():
            for event in events:
                after_seq, last_s = event.seq, time.monotonic()
                yield event
            if len(events) == PAGE:
                job, events = await asyncio.to_thread(self._look, job_id, after_seq=after_seq)
                continue
            if job.status in TERMINAL:
                yield job
                return
            if time.monotonic() - last_s > self.keep_alive_s:
                last_s = time.monotonic()
                yield Silence()
            look = partial(self._look, job_id, after_seq=after_seq)
            job, events = await self.looks.soon(look, key=(job_id, after_seq), in_s=self.poll_s)
        yield Leaving()

    def page(self, job_id: str, *, after_seq: int, limit: int) -> Page[JobEvent]:
        """Give the events that are there, oldest first; `last_id` is the last one's number. Raises NotFoundError."""
        events = list(self.jobs.events(job_id, after_seq=after_seq, limit=limit + 1))
        data = events[:limit]
        return Page[JobEvent](data=data, has_more=len(events) > limit, last_id=str(data[-1].seq) if data else None)

    def _look(self, job_id: str, *, after_seq: int) -> Seen:
        # The job first: a status that is terminal now has its last event already stored.
        return self.jobs.get(job_id), self.jobs.events(job_id, after_seq=after_seq, limit=PAGE)
