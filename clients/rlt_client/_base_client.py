"""Own what both clients say about a server: calls that belong to no resource, and where the server is."""

import os
from collections.abc import Sequence
from typing import Final

from rlt_client._calls import CAPABILITIES, Call, ask, get, path_of, reader
from rlt_client._connection import DEFAULT_TIMEOUT_S, Connection, Timeout
from rlt_client._errors import APIError
from rlt_client._methods import call
from rlt_client._retries import Retries
from rlt_core.addresses import addresses_of
from rlt_core.replicas import Replicas
from rlt_core.schemas.rollouts import RolloutPublished, RolloutPublishRequest
from rlt_core.schemas.server import Capabilities, FormatList, Health, Readiness
from rlt_core.schemas.teachers import ModelList

DEFAULT_BASE_URL: Final = "http://127.0.0.1:8400"
DEFAULT_MAX_RETRIES: Final = 2


class ServerCalls:
    """What a server says of itself, and what its trainers tell it."""

    @call
    def capabilities(self) -> Call[Capabilities]:
        """Ask what the server can: limits, engine, models, kinds of job."""
        return CAPABILITIES

    @call
    def formats(self) -> Call[FormatList]:
        """Ask which formats the server speaks."""
        return get(path_of("formats"), into=FormatList)

    @call
    def models(self) -> Call[ModelList]:
        """Ask for every name that can be called."""
        return get(path_of("models"), into=ModelList)

    @call
    def publish_rollout(self, job_id: str, request: RolloutPublishRequest) -> Call[RolloutPublished]:
        """For trainers: make the policy of one step of a job callable by its exact name; step and hash name it."""
        return ask(path_of("jobs", job_id, "rollouts"), into=RolloutPublished, body=request.model_dump(mode="json"))

    @call
    def health(self) -> Call[Health]:
        """Ask whether the process answers."""
        return get("/healthz", into=Health)

    @call
    def ready(self) -> Call[Readiness]:
        """Ask whether database, broker and engine are there; `not_ready` is an answer, not an error."""
        return Call(method="GET", path="/readyz", read=reader(Readiness), accept_status=(503,), repeatable=True)


def connection_of(
    base_url: str | Sequence[str] | None,
    *,
    api_key: str | None,
    timeout: Timeout | None,
    max_retries: int,
    flow: str | None,
) -> Connection:
    """Take what was not given from RLT_BASE_URL and RLT_API_KEY; raises APIError for a part that no server plays."""
    try:
        addresses = addresses_of(base_url or os.environ.get("RLT_BASE_URL") or DEFAULT_BASE_URL)
    except ValueError as error:
        raise APIError(str(error), param="base_url") from error
    return Connection(
        replicas=Replicas(addresses or addresses_of(DEFAULT_BASE_URL)),
        api_key=api_key or os.environ.get("RLT_API_KEY"),
        flow=flow,
        timeout=DEFAULT_TIMEOUT_S if timeout is None else timeout,
        retries=Retries(max_retries=max_retries),
    )
