"""`client.train`: hand in a training job."""

from collections.abc import Mapping
from typing import Any, Literal, overload

from rlt_client._api import Api, path_of
from rlt_client._resources.bodies import body_of
from rlt_core.schemas.jobs import DryRun, Job, SubmittedSpec

Spec = SubmittedSpec | Mapping[str, Any]


class Train:
    """Callable: `client.train({"kind": "rl", "dataset": "ds_…", "target_name": "algebra"})`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @overload
    def __call__(self, spec: Spec, *, dry_run: Literal[False] = False, idempotency_key: str | None = None) -> Job: ...

    @overload
    def __call__(self, spec: Spec, *, dry_run: Literal[True]) -> DryRun: ...

    def __call__(self, spec: Spec, *, dry_run: bool = False, idempotency_key: str | None = None) -> Job | DryRun:
        """Queue a job; with `dry_run` only say what it would be, and start nothing.

        Sent again with the same `idempotency_key` (within a day), it gives the first job and makes no second.
        """
        if dry_run:
            return self._api.post(path_of("train"), into=DryRun, body=body_of(spec), params={"dry_run": True})
        return self._api.post(path_of("train"), into=Job, body=body_of(spec), idempotency_key=idempotency_key)
