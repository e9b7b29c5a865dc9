"""Own a training beside an engine or a server that is harmed: it goes on in its attempt, and waits where it must."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.reliability.plant import wait_for
from rlt_core.schemas.jobs import JobEvent
from rlt_service.store.jobs import JobStore

GOES_ON_S = 120.0
"""Longest time until it is seen to go on; no promise: the server may have told its trainer to come back in 10 s."""
WAITED = ("trying again in", "works again")
"""What a trainer says of a call that it had to repeat, in this order."""


@dataclass(slots=True, kw_only=True)
class Training:
    """One job that runs for all of the trials, in its first attempt."""

    name: str
    jobs: JobStore
    job_id: str
    calls_engine: bool
    seen: int = 0
    """Number of its last event when it was looked at."""

    def look(self) -> None:
        """Note where it stands."""
        while events := self.jobs.events(self.job_id, after_seq=self.seen):
            self.seen = events[-1].seq

    def faults(self, *, most_s: float = GOES_ON_S) -> list[str]:
        """Say in what it did not survive what was done since it was looked at."""
        found: list[str] = []
        try:
            wait_for(self._has_gone_on, what="it goes on", timeout_s=most_s)
        except TimeoutError:
            waited = " after it had waited for the engine" if self.calls_engine else ""
            found.append(f"{self.name} did not go on within {most_s:.0f} s{waited}")
        now = self.jobs.get(self.job_id)
        if (now.status, now.attempt) != ("running", 1):
            found.append(f"{self.name} is {now.status}, attempt {now.attempt}")
        return found

    def _has_gone_on(self) -> bool:
        return has_gone_on(self.jobs.events(self.job_id, after_seq=self.seen), waited=self.calls_engine)


def has_gone_on(events: Sequence[JobEvent], *, waited: bool) -> bool:
    """Tell whether a step was done, where it must have `waited` only after it said so and that its call works again."""
    to_say = list(WAITED) if waited else []
    for event in events:
        if to_say and to_say[0] in str(event.data.get("message", "")):
            del to_say[0]
        elif not to_say and event.type == "progress":
            return True
    return False
