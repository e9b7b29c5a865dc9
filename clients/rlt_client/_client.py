"""Own `Client`: one server and its resources, each call done when it comes back."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx

from rlt_client._api import Api
from rlt_client._base_client import DEFAULT_BASE_URL, DEFAULT_MAX_RETRIES, ServerCalls, connection_of
from rlt_client._connection import Timeout
from rlt_client._methods import Blocking
from rlt_client._raw_clients import RawClient
from rlt_client._resources.aliases import Aliases
from rlt_client._resources.datasets import Datasets
from rlt_client._resources.evaluations import Evaluations
from rlt_client._resources.explain import Explain
from rlt_client._resources.jobs import Jobs
from rlt_client._resources.models import Models
from rlt_client._resources.projects import Projects
from rlt_client._resources.score import Score
from rlt_client._resources.shadows import Shadows
from rlt_client._resources.solve import Solve
from rlt_client._resources.train import Train

__all__ = ["DEFAULT_BASE_URL", "Client"]


class Client(ServerCalls, Blocking):
    """A server of `rlt up`, or any other of the contract.

    >>> with Client() as client:
    ...     answer = client.explain(question="2 + 3?", solution="5")
    ...     scores = client.score(question="2 + 3?", solution="5", explanations=[answer.explanations[0].text])

    `base_url` and `api_key` come from RLT_BASE_URL and RLT_API_KEY when they are not given. Every call raises an
    APIError when it fails. Threads may share one client. Several addresses, as a list or parted by commas, are
    replicas: a question goes to the same one while it is well (docs/sdk.md).
    """

    def __init__(
        self,
        base_url: str | Sequence[str] | None = None,
        *,
        api_key: str | None = None,
        timeout: Timeout | None = None,
        max_retries: int = DEFAULT_MAX_RETRIES,
        flow: str | None = None,
        transport: httpx.BaseTransport | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        """Open no connection yet.

        `timeout` is the longest silence of an answer in seconds (600), or an httpx.Timeout. What fails for a reason
        that passes is sent again `max_retries` times, if sending it twice does no more than once; a write is given an
        Idempotency-Key for that. `transport` is for tests, `http_client` for proxies, certificates and the like.

        Calls of the same `flow`, a name of your own, take one caller's turns before the engine, however many there are.
        """
        connection = connection_of(base_url, api_key=api_key, timeout=timeout, max_retries=max_retries, flow=flow)
        self._own_pool = http_client is None
        self._bind(Api.open(connection, transport=transport, http=http_client))

    def _bind(self, api: Api) -> None:
        super().__init__(api)
        self.explain = Explain(api)
        self.score = Score(api)
        self.solve = Solve(api)
        self.train = Train(api)
        self.jobs = Jobs(api)
        self.datasets = Datasets(api)
        self.teachers = Models(api, role="teacher")
        self.students = Models(api, role="student")
        self.aliases = Aliases(api)
        self.shadows = Shadows(api)
        self.projects = Projects(api)
        self.evaluations = Evaluations(api)

    @property
    def base_url(self) -> str:
        """The server that this client talks to; of several, all of them as they are named."""
        return self._api.connection.base_url

    @property
    def with_raw_response(self) -> RawClient:
        """The same calls, each giving its HTTP response: `client.with_raw_response.jobs.get("job_…").headers`."""
        return RawClient(self._api)

    def with_options(self, *, timeout: Timeout | None = None, max_retries: int | None = None) -> Self:
        """Give a client with other options on the same connections; closing it leaves them open."""
        made = object.__new__(type(self))
        made._own_pool = False
        made._bind(self._api.with_options(timeout=timeout, max_retries=max_retries))
        return made

    def close(self) -> None:
        """Close the connections."""
        if self._own_pool:
            self._api.close()

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()
