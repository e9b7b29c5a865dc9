"""Own the job that a client gives: what the server said of it, and calls about it by its own id.

`Job` and `AsyncJob` have the same calls from the same descriptions.
"""

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from pydantic import ConfigDict, PrivateAttr

from rlt_client._calls import Plan, step
from rlt_client._errors import APIError
from rlt_client._methods import Awaiting, Blocking, act, plan
from rlt_client._resources.job_calls import JobCalls
from rlt_client._resources.waiting import AWAY_S, waiting
from rlt_core.schemas import jobs as wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlt_client._api import Api
    from rlt_client._async_api import AsyncApi

ApiT = TypeVar("ApiT")

JOBS = JobCalls[wire.Job]()


class Link(Generic[ApiT]):
    """The way from a job to its server; no part of its value.

    It equals every other, a copy of a job shares it, and a pickled job has none.
    """

    def __init__(self, api: ApiT | None = None) -> None:
        self._api = api

    def api(self, job_id: str) -> ApiT:
        """Give the driver; raises APIError where a pickled job left it behind."""
        if self._api is None:
            raise APIError(
                f"{job_id} has no client here, since it was pickled: read it again, client.jobs.get({job_id!r})"
            )
        return self._api

    def __eq__(self, other: object) -> bool:
        """Never tell two jobs apart."""
        return isinstance(other, Link)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Share the connections."""
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Leave the connections behind."""
        return type(self), ()


class JobActs(wire.Job):
    """A job, and what can be asked of it; each call brings the job itself up to date and gives it."""

    model_config = ConfigDict(ignored_types=(act, plan), defer_build=True)

    @act
    def refresh(self) -> Plan[Self]:
        """Read it again."""
        return self._now((yield from step(JOBS.get(self.id))))

    @act
    def wait(
        self,
        *,
        progress: bool = False,
        on_event: "Callable[[wire.JobEvent], None] | None" = None,
        poll_s: float = 1.0,
        timeout_s: float | None = None,
        away_s: float = AWAY_S,
    ) -> Plan[Self]:
        """Come back when it has ended, whatever its end, as `client.jobs.wait` does; look at `status` and `result`."""
        return self._now(
            (
                yield from waiting(
                    self.id, progress=progress, on_event=on_event, poll_s=poll_s, timeout_s=timeout_s, away_s=away_s
                )
            )
        )

    @plan
    def metrics(self, *, after_step: int | None = None, max_points: int | None = None) -> Plan[Any]:
        """Read its series as a pandas frame by step; where pandas is not there, as one dictionary a step."""
        return JOBS.metrics_frame(self.id, after_step=after_step, max_points=max_points)

    @act
    def cancel(self) -> Plan[Self]:
        """Ask it to end; repeatable. Raises ConflictError when it has ended otherwise."""
        return self._now((yield from step(JOBS.cancel(self.id))))

    @act
    def pause(self) -> Plan[Self]:
        """Hold it back while it is queued; ask it to save and make room when it runs. Repeatable."""
        return self._now((yield from step(JOBS.pause(self.id))))

    @act
    def resume(self) -> Plan[Self]:
        """Put it back into the queue, or take back that it is to pause."""
        return self._now((yield from step(JOBS.resume(self.id))))

    def _now(self, found: wire.Job) -> Self:
        for name in wire.Job.model_fields:
            setattr(self, name, getattr(found, name))
        return self


class Job(JobActs, Blocking):
    """A training job as the server last said, whose calls are done when they come back."""

    _link: "Link[Api]" = PrivateAttr(default_factory=lambda: Link())

    @classmethod
    def of(cls, found: wire.Job, *, api: "Api") -> Self:
        """Give a job its calls."""
        made = cls.model_construct(found.model_fields_set, **dict(found))
        made._link = Link(api)
        return made

    @property
    def _api(self) -> "Api":
        return self._link.api(self.id)


class AsyncJob(JobActs, Awaiting):
    """A training job as the server last said, whose calls are awaited."""

    _link: "Link[AsyncApi]" = PrivateAttr(default_factory=lambda: Link())

    @classmethod
    def of(cls, found: wire.Job, *, api: "AsyncApi") -> Self:
        """Give a job its calls."""
        made = cls.model_construct(found.model_fields_set, **dict(found))
        made._link = Link(api)
        return made

    @property
    def _api(self) -> "AsyncApi":
        return self._link.api(self.id)
