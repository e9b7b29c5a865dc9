"""Own what both drivers know of servers: addresses, headers and times, and which exception a failure is."""

import contextlib
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx

from rlt_client import _problems
from rlt_client._calls import Call
from rlt_client._errors import APIConnectionError, APITimeoutError
from rlt_client._retries import Retries
from rlt_client._traces import Traced, traced
from rlt_client._tries import Tries
from rlt_core.replicas import Replicas
from rlt_core.spans import here
from rlt_core.trace_context import TraceContext

CONNECT_TIMEOUT_S: Final = 5.0
"""A server on this or a near machine answers a connect at once; only its work takes long."""
DEFAULT_TIMEOUT_S: Final = 600.0
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

Timeout = float | httpx.Timeout
"""Longest silence in seconds, or httpx.Timeout with a value each for connect, read, write and pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What requests to one server, or to several that are one, have in common."""

    replicas: Replicas
    api_key: str | None = field(default=None, repr=False)
    flow: str | None = None
    timeout: Timeout = DEFAULT_TIMEOUT_S
    retries: Retries = field(default_factory=Retries)
    trace: TraceContext | None = field(default_factory=here, repr=False)
    """The trace of whoever made the client: threads that call it begin outside of every trace."""

    def with_options(self, *, timeout: Timeout | None, max_retries: int | None) -> "Connection":
        """Give another with what is named changed."""
        return replace(
            self,
            timeout=self.timeout if timeout is None else timeout,
            retries=self.retries if max_retries is None else Retries(max_retries=max_retries),
        )

    @property
    def base_url(self) -> str:
        """The server's URL; of several, all of them as they are named."""
        return str(self.replicas)

    @property
    def timeouts(self) -> httpx.Timeout:
        """Give every timeout; a plain number bounds connecting by CONNECT_TIMEOUT_S too."""
        if isinstance(self.timeout, httpx.Timeout):
            return self.timeout
        return httpx.Timeout(self.timeout, connect=min(CONNECT_TIMEOUT_S, self.timeout))

    def within(self, silence_s: float | None) -> httpx.Timeout:
        """Give the timeouts of an answer that may not be silent for longer than `silence_s`."""
        timeouts = httpx.Timeout(self.timeouts)
        if silence_s is not None:
            timeouts.read = silence_s if timeouts.read is None else min(silence_s, timeouts.read)
        return timeouts

    def client_options(self) -> dict[str, Any]:
        """Give what an httpx client of either kind is made with."""
        hosts = {httpx.URL(address.url).host for address in self.replicas.addresses}
        return {
            # A proxy of the environment would also catch loopback, where the server usually is.
            "trust_env": not hosts & LOOPBACK,
        }

    def headers_of(self, call: Call[Any]) -> dict[str, str]:
        """Give the headers of a call; one that writes gets its key here, the same for all its repeats."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        headers |= {"RLT-Flow": self.flow} if self.flow else {}
        key = call.idempotency_key
        if key is None and call.keyed and self.retries.max_retries:
            key = f"rlt-{uuid.uuid4()}"
        return {**headers, **call.headers, **({} if key is None else {"Idempotency-Key": key})}

    def tries(self, call: Call[Any]) -> Tries:
        """Begin a call, which holds no server yet."""
        headers = self.headers_of(call)
        repeatable = self.may_repeat(call, headers)
        return Tries(call, headers=headers, repeatable=repeatable, replicas=self.replicas, retries=self.retries)

    def may_repeat(self, call: Call[Any], headers: dict[str, str]) -> bool:
        """Say whether sending it again does no more than sending it once; a write needs a key for that."""
        return call.repeatable or (call.keyed and "Idempotency-Key" in headers)

    def traced(self, call: Call[Any], *, enter: bool = True) -> contextlib.AbstractContextManager[Traced]:
        """Record a try of a call, where the application records any."""
        return traced(call.method, above=here() or self.trace, enter=enter)

    @contextlib.contextmanager
    def failures(self, server: str) -> Generator[None]:
        """Raise what httpx raises while it talks to `server` as exceptions of the SDK."""
        try:
            yield
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                raise _nobody(server, "connecting timed out") from error
            slow = APITimeoutError(
                f"{server} gave no answer within {self._silence(error)}: raise timeout or ask for less"
            )
            slow.sent = not isinstance(error, httpx.PoolTimeout)
            raise slow from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            refused = APIConnectionError(f"{server!r} is no URL ({error}): write http://host:port")
            refused.retryable = False
            raise refused from error
        except httpx.ConnectError as error:
            raise _nobody(server, str(error)) from error
        except httpx.TransportError as error:
            raise APIConnectionError(f"the connection to {server} broke ({error!r}): try again") from error

    def _silence(self, error: httpx.TimeoutException) -> str:
        match error:
            case httpx.WriteTimeout():
                seconds = self.timeouts.write
            case httpx.PoolTimeout():
                seconds = self.timeouts.pool
            case _:
                seconds = self.timeouts.read
        return "its time" if seconds is None else f"{seconds:g} s"


def _nobody(server: str, reason: str) -> APIConnectionError:
    unreached = APIConnectionError(
        f"no server answers at {server} ({reason}): start one with `rlt up`, or name another with RLT_BASE_URL"
    )
    unreached.sent = False
    return unreached


def raise_for_status(response: httpx.Response, *, accept_status: tuple[int, ...] = ()) -> None:
    """Raise the APIStatusError of an answer that is none; its body must have been read."""
    if response.is_error and response.status_code not in accept_status:
        raise _problems.from_response(
            status=response.status_code,
            body=response.content,
            request_id=response.headers.get("X-Request-Id"),
            retry_after=response.headers.get("Retry-After"),
        )
