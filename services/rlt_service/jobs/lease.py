"""Own the judgement that a supervisor is lost: a counter that stands still on the watcher's monotonic clock. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlt_service.store.jobs import RunningJob


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    attempt: int
    beat: int
    since_s: float


class LeaseWatcher:
    """Remembers when each (attempt, beat) was first seen; no clock of another machine is compared with ours."""

    def __init__(self, *, lease_s: float) -> None:
        """Take the longest time that a living supervisor may stand still, in seconds."""
        self._lease_s = lease_s
        self._seen: dict[str, _Sight] = {}

    def forget(self) -> None:
        """Judge every job anew from the next look: while nobody could look, beats could not be stored either."""
        self._seen = {}

    def oldest_s(self, *, now_s: float) -> float:
        """Say for how long the job whose beat stands still longest has not beaten, as of the last look; 0 for none."""
        return max((now_s - sight.since_s for sight in self._seen.values()), default=0.0)

    def expired(self, running: Sequence[RunningJob], *, now_s: float) -> list[RunningJob]:
        """Return jobs whose attempt and beat have not changed for a lease, by a monotonic `now_s`."""
        seen: dict[str, _Sight] = {}
        lost: list[RunningJob] = []
        for job in running:
            sight = self._seen.get(job.id)
            if sight is None or (sight.attempt, sight.beat) != (job.attempt, job.beat):
                sight = _Sight(attempt=job.attempt, beat=job.beat, since_s=now_s)
            seen[job.id] = sight
            if now_s - sight.since_s >= self._lease_s:
                lost.append(job)
        self._seen = seen
        return lost
