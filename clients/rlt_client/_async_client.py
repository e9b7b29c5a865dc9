"""Own `AsyncClient`: one server and its resources, each call awaited on an asyncio loop."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx

from rlt_client._async_api import AsyncApi
from rlt_client._base_client import DEFAULT_MAX_RETRIES, ServerCalls, connection_of
from rlt_client._connection import Timeout
from rlt_client._methods import Awaiting
from rlt_client._raw_clients import AsyncRawClient
from rlt_client._resources.aliases import AsyncAliases
from rlt_client._resources.datasets import AsyncDatasets
from rlt_client._resources.evaluations import AsyncEvaluations
from rlt_client._resources.explain import AsyncExplain
from rlt_client._resources.jobs import AsyncJobs
from rlt_client._resources.models import AsyncModels
from rlt_client._resources.projects import AsyncProjects
from rlt_client._resources.score import AsyncScore
from rlt_client._resources.shadows import AsyncShadows
from rlt_client._resources.solve import AsyncSolve
from rlt_client._resources.train import AsyncTrain


class AsyncClient(ServerCalls, Awaiting):
    """`Client` with the same calls and options, each to be awaited.

    >>> async with AsyncClient() as client:
    ...     answer = await client.explain(question="2 + 3?", solution="5")
    """

    def __init__(
        self,
        base_url: str | Sequence[str] | None = None,
        *,
        api_key: str | None = None,
        timeout: Timeout | None = None,
        max_retries: int = DEFAULT_MAX_RETRIES,
        flow: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        """Open no connection yet; every argument means what it means for `Client`."""
        connection = connection_of(base_url, api_key=api_key, timeout=timeout, max_retries=max_retries, flow=flow)
        self._own_pool = http_client is None
        self._bind(AsyncApi.open(connection, transport=transport, http=http_client))

    def _bind(self, api: AsyncApi) -> None:
        super().__init__(api)
        self.explain = AsyncExplain(api)
        self.score = AsyncScore(api)
        self.solve = AsyncSolve(api)
        self.train = AsyncTrain(api)
        self.jobs = AsyncJobs(api)
        self.datasets = AsyncDatasets(api)
        self.teachers = AsyncModels(api, role="teacher")
        self.students = AsyncModels(api, role="student")
        self.aliases = AsyncAliases(api)
        self.shadows = AsyncShadows(api)
        self.projects = AsyncProjects(api)
        self.evaluations = AsyncEvaluations(api)

    @property
    def base_url(self) -> str:
        """The server that this client talks to; of several, all of them as they are named."""
        return self._api.connection.base_url

    @property
    def with_raw_response(self) -> AsyncRawClient:
        """The same calls, each giving its HTTP response."""
        return AsyncRawClient(self._api)

    def with_options(self, *, timeout: Timeout | None = None, max_retries: int | None = None) -> Self:
        """Give a client with other options on the same connections; closing it leaves them open."""
        made = object.__new__(type(self))
        made._own_pool = False
        made._bind(self._api.with_options(timeout=timeout, max_retries=max_retries))
        return made

    async def close(self) -> None:
        """Close the connections."""
        if self._own_pool:
            await self._api.close()

    async def __aenter__(self) -> Self:
        """Give the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()
