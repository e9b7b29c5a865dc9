"""`client.train`: hand in a training job."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, overload

from rlt_client._calls import Call, ask, path_of, write
from rlt_client._methods import Awaiting, Blocking, call
from rlt_client._resources.bodies import body_of
from rlt_core.schemas.jobs import DryRun, Job, SubmittedSpec

Spec = SubmittedSpec | Mapping[str, Any]


class TrainCalls:
    """Callable: `client.train({"kind": "rl", "dataset": "ds_…", "target_name": "algebra"})`."""

    @call
    def create(self, spec: Spec, *, idempotency_key: str | None = None) -> Call[Job]:
        """Queue a job; sent again with the same `idempotency_key` (within a day), it gives the first and no second."""
        return write("POST", path_of("train"), into=Job, body=body_of(spec), idempotency_key=idempotency_key)

    @call
    def dry_run(self, spec: Spec) -> Call[DryRun]:
        """Say what a job would be, and start nothing."""
        return replace(ask(path_of("train"), into=DryRun, body=body_of(spec)), params={"dry_run": True})


class Train(TrainCalls, Blocking):
    """Callable: `client.train({"kind": "rl", "dataset": "ds_…", "target_name": "algebra"})`."""

    @overload
    def __call__(self, spec: Spec, *, dry_run: Literal[False] = False, idempotency_key: str | None = None) -> Job: ...

    @overload
    def __call__(self, spec: Spec, *, dry_run: Literal[True]) -> DryRun: ...

    def __call__(self, spec: Spec, *, dry_run: bool = False, idempotency_key: str | None = None) -> Job | DryRun:
        """Queue a job; with `dry_run` only say what it would be, and start nothing.

        Sent again with the same `idempotency_key` (within a day), it gives the first job and makes no second.
        """
        return self.dry_run(spec) if dry_run else self.create(spec, idempotency_key=idempotency_key)


class AsyncTrain(TrainCalls, Awaiting):
    """Callable: `await client.train({"kind": "rl", "dataset": "ds_…", "target_name": "algebra"})`."""

    @overload
    async def __call__(
        self, spec: Spec, *, dry_run: Literal[False] = False, idempotency_key: str | None = None
    ) -> Job: ...

    @overload
    async def __call__(self, spec: Spec, *, dry_run: Literal[True]) -> DryRun: ...

    async def __call__(self, spec: Spec, *, dry_run: bool = False, idempotency_key: str | None = None) -> Job | DryRun:
        """Queue a job; with `dry_run` only say what it would be, and start nothing."""
        if dry_run:
            return await self.dry_run(spec)
        return await self.create(spec, idempotency_key=idempotency_key)
