"""Own the connection to one server: send a request, read a typed answer, raise what went wrong."""

import contextlib
from collections.abc import Generator, Iterable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from rlt_client import _problems
from rlt_client._errors import APIConnectionError, APIResponseValidationError, APITimeoutError
from rlt_core.spans import Span, here, span

AnswerT = TypeVar("AnswerT", bound=BaseModel)

CONNECT_TIMEOUT_S: Final = 5.0
"""A server on this or a near machine answers a connect at once; only its work takes long."""

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

Params = Mapping[str, str | int | float | bool | None]


def path_of(*segments: str | int) -> str:
    """Build `/v1/…`; each segment is escaped, so that no id or name can change the path."""
    return "/v1/" + "/".join(quote(str(segment), safe="@") for segment in segments)


def once(idempotency_key: str | None) -> dict[str, str]:
    """Give the header that makes a call safe to send again."""
    return {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}


class Api:
    """A pool of connections to one base URL; safe to share between threads."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str | None,
        timeout_s: float,
        transport: httpx.BaseTransport | None,
        flow: str | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        headers |= {"RLT-Flow": flow} if flow else {}
        self._timeout_s = timeout_s
        self._trace = here()
        """The trace of whoever made the client: threads that call it begin outside of every trace."""
        with self._failures():
            self._http = httpx.Client(
                base_url=self.base_url,
                headers=headers,
                timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
                transport=transport,
                # A proxy of the environment would also catch loopback, where the server usually is.
                trust_env=httpx.URL(self.base_url).host not in LOOPBACK,
            )

    def get(self, path: str, *, into: type[AnswerT], params: Params | None = None) -> AnswerT:
        """GET and read the answer as `into`."""
        return self.call("GET", path, into=into, params=params)

    def post(
        self,
        path: str,
        *,
        into: type[AnswerT],
        body: Any = None,
        params: Params | None = None,
        idempotency_key: str | None = None,
    ) -> AnswerT:
        """POST JSON and read the answer as `into`."""
        return self.read(self.send("POST", path, body=body, params=params, headers=once(idempotency_key)), into=into)

    def call(
        self,
        method: str,
        path: str,
        *,
        into: type[AnswerT],
        body: Any = None,
        params: Params | None = None,
        accept_status: tuple[int, ...] = (),
    ) -> AnswerT:
        """Send and read the answer as `into`; statuses in `accept_status` are answers too, not errors."""
        response = self.send(method, path, body=body, params=params, accept_status=accept_status)
        return self.read(response, into=into)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: Iterable[bytes] | None = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        accept_status: tuple[int, ...] = (),
    ) -> httpx.Response:
        """Send and give the whole answer; raises an APIStatusError for any status of 400 or more."""
        with self._failures(), self._traced(method) as traced:
            response = self._http.request(
                method,
                path,
                json=body,
                content=content,
                params=_present(params),
                headers={**traced.headers, **(headers or {})},
            )
            traced.answered(response)
        if response.status_code not in accept_status:
            _raise_for_status(response)
        return response

    def read(self, response: httpx.Response, *, into: type[AnswerT]) -> AnswerT:
        """Parse an answer; fields that this SDK does not know are left out, since the contract may grow."""
        return self.parse(response.content, into=into, url=response.request.url)

    def parse(self, content: bytes | str, *, into: type[AnswerT], url: httpx.URL) -> AnswerT:
        """Parse what came from `url`, as `read` does a whole answer."""
        try:
            return into.model_validate_json(content, extra="ignore")
        except ValidationError as error:
            raise self._unexpected(url, into=into, error=error) from error

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        silence_s: float | None = None,
    ) -> Generator[httpx.Response]:
        """Send, and give an answer that is read while it comes; `silence_s` may be shorter than the client's."""
        timeout = httpx.Timeout(self._http.timeout)
        timeout.read = timeout.read if silence_s is None else min(silence_s, self._timeout_s)
        with (
            self._failures(),
            self._traced(method, enter=False) as traced,
            self._http.stream(
                method,
                path,
                json=body,
                params=_present(params),
                headers={**traced.headers, **(headers or {})},
                timeout=timeout,
            ) as response,
        ):
            traced.answered(response)
            if response.is_error:
                response.read()
            _raise_for_status(response)
            yield response

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @contextlib.contextmanager
    def _traced(self, method: str, *, enter: bool = True) -> Generator["_Traced"]:
        """Record a call, where the application records any; its path may hold names, and is not told."""
        above = here() or self._trace
        with span(method, kind="client", above=above, enter=enter, http__request__method=method) as told:
            yield _Traced(told)

    @contextlib.contextmanager
    def _failures(self) -> Generator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                raise self._nobody("connecting timed out") from error
            raise APITimeoutError(
                f"{self.base_url} gave no answer within {self._timeout_s:g} s: raise timeout_s or ask for less"
            ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise APIConnectionError(f"{self.base_url!r} is no URL ({error}): write http://host:port") from error
        except httpx.ConnectError as error:
            raise self._nobody(str(error)) from error
        except httpx.TransportError as error:
            raise APIConnectionError(f"the connection to {self.base_url} broke ({error!r}): try again") from error

    def _nobody(self, reason: str) -> APIConnectionError:
        return APIConnectionError(
            f"no server answers at {self.base_url} ({reason}): "
            "start one with `rlt up`, or name another with RLT_BASE_URL"
        )

    def _unexpected(
        self, url: httpx.URL, *, into: type[BaseModel], error: ValidationError
    ) -> APIResponseValidationError:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "/".join(str(part) for part in first["loc"]) or "the body"
        return APIResponseValidationError(
            f"{url} did not answer with a {into.__name__} ({where}: {first['msg']}): "
            "is it an RLT server, and of a version that this client knows?"
        )


class _Traced:
    """A call's span, and what the server is told of it."""

    def __init__(self, told: Span) -> None:
        self._told = told
        self.headers = told.headers

    def answered(self, response: httpx.Response) -> None:
        self._told.set(http__response__status_code=response.status_code)
        if response.is_error:
            self._told.fail(str(response.status_code))


def _raise_for_status(response: httpx.Response) -> None:
    if response.is_error:
        raise _problems.from_response(
            status=response.status_code,
            body=response.content,
            request_id=response.headers.get("X-Request-Id"),
            retry_after=response.headers.get("Retry-After"),
        )


def _present(params: Params | None) -> dict[str, str | int | float | bool] | None:
    return {name: value for name, value in params.items() if value is not None} if params else None
