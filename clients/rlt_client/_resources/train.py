"""`client.train`: hand in a training job."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, overload

from rlt_client._calls import Call, ask, path_of, write
from rlt_client._methods import Awaiting, Blocking, call
from rlt_client._resources.bodies import body_of
from rlt_client._resources.job import AsyncJob, Job
from rlt_client._resources.job_calls import JobAnswers, JobT
from rlt_core.schemas import jobs as wire
from rlt_core.schemas.jobs import DryRun, SubmittedSpec

Spec = SubmittedSpec | Mapping[str, Any]


class TrainCalls(JobAnswers[JobT]):
    """Callable: `client.train({"kind": "rl", "dataset": "ds_…", "target_name": "algebra"})`."""

    @call
    def create(self, spec: Spec, *, idempotency_key: str | None = None) -> Call[JobT]:
        """Queue a job; sent again with the same `idempotency_key` (within a day), it gives the first and no second."""
        body = body_of(spec)
        return self._held(write("POST", path_of("train"), into=wire.Job, body=body, idempotency_key=idempotency_key))

    @call
    def dry_run(self, spec: Spec) -> Call[DryRun]:
        """Say what a job would be, and start nothing."""
        return replace(ask(path_of("train"), into=DryRun, body=body_of(spec)), params={"dry_run": True})


class Train(TrainCalls[Job], Blocking):
    """Callable: `client.train({"kind": "rl", "dataset": "ds_…", "target_name": "algebra"})`."""

    def _hold(self, job: wire.Job) -> Job:
        return Job.of(job, api=self._api)

    @overload
    def __call__(self, spec: Spec, *, dry_run: Literal[False] = False, idempotency_key: str | None = None) -> Job: ...

    @overload
    def __call__(self, spec: Spec, *, dry_run: Literal[True]) -> DryRun: ...

    def __call__(self, spec: Spec, *, dry_run: bool = False, idempotency_key: str | None = None) -> Job | DryRun:
        """Queue a job; with `dry_run` only say what it would be, and start nothing.

        Sent again with the same `idempotency_key` (within a day), it gives the first job and makes no second.
        """
        return self.dry_run(spec) if dry_run else self.create(spec, idempotency_key=idempotency_key)


class AsyncTrain(TrainCalls[AsyncJob], Awaiting):
    """Callable: `await client.train({"kind": "rl", "dataset": "ds_…", "target_name": "algebra"})`."""

    def _hold(self, job: wire.Job) -> AsyncJob:
        return AsyncJob.of(job, api=self._api)

    @overload
    async def __call__(
        self, spec: Spec, *, dry_run: Literal[False] = False, idempotency_key: str | None = None
    ) -> AsyncJob: ...

    @overload
    async def __call__(self, spec: Spec, *, dry_run: Literal[True]) -> DryRun: ...

    async def __call__(
        self, spec: Spec, *, dry_run: bool = False, idempotency_key: str | None = None
    ) -> AsyncJob | DryRun:
        """Queue a job; with `dry_run` only say what it would be, and start nothing."""
        if dry_run:
            return await self.dry_run(spec)
        return await self.create(spec, idempotency_key=idempotency_key)
