"""Own how a page follows a job: one cursor over its history, by which curves, samples and status come as deltas."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from rlt_core.schemas.jobs import TERMINAL, Job, JobEvent
from rlt_service.dashboard.cursors import NEAR, before_step, last_seq
from rlt_service.dashboard.curves import MAX_POINTS, Curves
from rlt_service.dashboard.gateway import Gateway

PAGE: Final = 1000
SHOWN_EVENTS: Final = 200
SAMPLES: Final = frozenset({"sample", "solved"})


@dataclass(slots=True, kw_only=True)
class Following:
    """A job as far as it has been followed."""

    gateway: Gateway
    job: Job
    curves: Curves
    seq: int
    """The newest event that has been seen."""

    @classmethod
    async def begin(cls, gateway: Gateway, job_id: str) -> "Following":
        """Take a job as it is; what happens while it is read comes again with the first delta, which harms nothing."""
        job = await gateway.job(job_id)
        seq = await last_seq(partial(gateway.peek, job_id))
        metrics = await gateway.metrics(job_id, max_points=MAX_POINTS)
        return cls(gateway=gateway, job=job, curves=Curves.of(metrics), seq=seq)

    @property
    def over(self) -> bool:
        """Whether nothing can happen any more."""
        return self.job.status in TERMINAL

    async def poll(self) -> list[JobEvent]:
        """Take what has happened since; gives the new events, oldest first."""
        found = (await self.gateway.events(self.job.id, after=self.seq, limit=PAGE)).data
        for event in found:
            if event.type == "progress":
                self.curves.add(int(event.data.get("step", 0)), event.data.get("metrics") or {})
        if found:
            self.seq = found[-1].seq
            self.job = await self.gateway.job(self.job.id)
        return found

    async def newest(self) -> list[JobEvent]:
        """Give the last events, the newest first."""
        found = await self.gateway.events(self.job.id, after=max(0, self.seq - SHOWN_EVENTS), limit=SHOWN_EVENTS)
        return found.data[::-1]

    async def samples(self, step: int) -> list[JobEvent]:
        """Give the samples of a step, or of the next one that has any; none where there is none close by."""
        peek = partial(self.gateway.peek, self.job.id)
        place = await before_step(peek, step=step, last=self.seq)
        near = (await self.gateway.events(self.job.id, after=place, limit=4 * NEAR)).data
        found = [event for event in near if event.type in SAMPLES and int(event.data.get("step", -1)) >= step]
        return [event for event in found if event.data["step"] == found[0].data["step"]]
