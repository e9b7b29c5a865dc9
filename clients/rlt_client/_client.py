"""Own `Client`: one server, its resources, and what it says about itself."""

import os
from types import TracebackType
from typing import Final, Self

import httpx

from rlt_client._api import Api, path_of
from rlt_client._resources.aliases import Aliases
from rlt_client._resources.datasets import Datasets
from rlt_client._resources.evaluations import Evaluations
from rlt_client._resources.explain import Explain
from rlt_client._resources.jobs import Jobs
from rlt_client._resources.models import Models
from rlt_client._resources.score import Score
from rlt_client._resources.shadows import Shadows
from rlt_client._resources.solve import Solve
from rlt_client._resources.train import Train
from rlt_core.schemas.rollouts import RolloutPublished, RolloutPublishRequest
from rlt_core.schemas.server import Capabilities, FormatList, Health, Readiness
from rlt_core.schemas.teachers import ModelList

DEFAULT_BASE_URL: Final = "http://127.0.0.1:8400"


class Client:
    """A server of `rlt up`, or any other of the contract.

    >>> with Client() as client:
    ...     answer = client.explain(question="2 + 3?", solution="5")
    ...     scores = client.score(question="2 + 3?", solution="5", explanations=[answer.explanations[0].text])

    `base_url` and `api_key` come from RLT_BASE_URL and RLT_API_KEY when they are not given. Every call raises an
    APIError when it fails; nothing is tried again by itself. Threads may share one client.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 600.0,
        flow: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open no connection yet. `timeout_s` is the longest silence of an answer; `transport` is for tests.

        Calls of the same `flow`, a name of your own, take one caller's turns before the engine, however many there are.
        """
        self._api = Api(
            base_url=base_url or os.environ.get("RLT_BASE_URL") or DEFAULT_BASE_URL,
            api_key=api_key or os.environ.get("RLT_API_KEY"),
            timeout_s=timeout_s,
            flow=flow,
            transport=transport,
        )
        self.explain = Explain(self._api)
        self.score = Score(self._api)
        self.solve = Solve(self._api)
        self.train = Train(self._api)
        self.jobs = Jobs(self._api)
        self.datasets = Datasets(self._api)
        self.teachers = Models(self._api, role="teacher")
        self.students = Models(self._api, role="student")
        self.aliases = Aliases(self._api)
        self.shadows = Shadows(self._api)
        self.evaluations = Evaluations(self._api)

    @property
    def base_url(self) -> str:
        """The server that this client talks to."""
        return self._api.base_url

    def capabilities(self) -> Capabilities:
        """Ask what the server can: limits, engine, models, kinds of job."""
        return self._api.get(path_of("capabilities"), into=Capabilities)

    def formats(self) -> FormatList:
        """Ask which formats the server speaks."""
        return self._api.get(path_of("formats"), into=FormatList)

    def models(self) -> ModelList:
        """Ask for every name that can be called."""
        return self._api.get(path_of("models"), into=ModelList)

    def publish_rollout(self, job_id: str, request: RolloutPublishRequest) -> RolloutPublished:
        """For trainers: make the policy of one step of a job callable by its exact name."""
        body = request.model_dump(mode="json")
        return self._api.post(path_of("jobs", job_id, "rollouts"), into=RolloutPublished, body=body)

    def health(self) -> Health:
        """Ask whether the process answers."""
        return self._api.get("/healthz", into=Health)

    def ready(self) -> Readiness:
        """Ask whether database, broker and engine are there; `not_ready` is an answer, not an error."""
        return self._api.call("GET", "/readyz", into=Readiness, accept_status=(503,))

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()
