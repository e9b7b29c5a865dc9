"""Own the tries of one call: which server is next, and whether and when it is sent again; no I/O."""

from collections.abc import Mapping, Sized
from types import TracebackType
from typing import Any, Final, Self, cast

from rlt_client._calls import Call
from rlt_client._errors import APIConnectionError, APIError, APITimeoutError
from rlt_client._retries import Retries
from rlt_core.errors import RltError
from rlt_core.replicas import Asked, Replicas

AWAY: Final = frozenset({502, 503, 504})
HEAVIEST: Final = 1024
"""A call counts for as many sequences as it asks for, up to this."""


class Tries:
    """One call from its first try to its answer's end; a `with` gives back the server that it holds.

    A server that is away or full has the call sent to another at once, each once, where sending it twice does no
    more than sending it once, or where it was never sent. Only when none is left does a pause follow, and count as a
    retry.
    """

    def __init__(
        self, call: Call[Any], *, headers: dict[str, str], repeatable: bool, replicas: Replicas, retries: Retries
    ) -> None:
        self.headers = headers
        self._call = call
        self._repeatable = repeatable
        self._replicas = replicas
        self._retries = retries
        self._asked = call.asked or asked_of(call.body)
        self._at: str | None = None
        self._tried: set[str] = set()
        self._failures = 0

    @property
    def server(self) -> str:
        """The URL that the present try goes to; between tries what the servers are called together."""
        return self._at or str(self._replicas)

    def begin(self) -> None:
        """Choose a server for the next try; raises APIError where none is named for such calls."""
        self._give_back()
        preferred = self._call.server
        try:
            self._at = self._replicas.take(self._call.path, self._asked, preferred=preferred, tried=self._tried)
        except RltError as error:
            raise APIError(error.detail, param="base_url") from error
        self._tried.add(self._at)

    def answered(self) -> None:
        """Note that the server answered; it is held until the end, since an answer may go on."""
        if self._at is not None:
            self._replicas.answered(self._at)

    def pause_after(self, error: APIError) -> float:
        """Give seconds until the next try, 0 where another server is asked; raises `error` where there is none."""
        fault = self._note(error)
        self._give_back()
        harmless = self._repeatable or not _sent(error)
        if fault == "elsewhere" and harmless and self._replicas.others(self._call.path, tried=self._tried):
            return 0.0
        self._failures += 1
        pause_s = self._retries.pause_s(error, failures=self._failures)
        if pause_s is None or not self._repeatable:
            raise error
        self._tried.clear()
        return pause_s

    def _note(self, error: APIError) -> str:
        """Tell the replicas what a failure says of its server; `elsewhere` where another may do better at once."""
        if self._at is None:
            return ""
        fault = fault_of(error)
        if fault:
            self._replicas.away(self._at, for_s=error.retry_after_s)
        elif error.status_code is not None:
            self._replicas.answered(self._at)
        return fault

    def _give_back(self) -> None:
        if self._at is not None:
            self._replicas.give_back(self._at, weight=self._asked.weight)
            self._at = None

    def __enter__(self) -> Self:
        """Begin with no try."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the server back; an answer that broke off counts against it."""
        if isinstance(error, APIError):
            self._note(error)
        self._give_back()


def fault_of(error: APIError) -> str:
    """Say what a failure tells of its server: `elsewhere`, away or full; `slow`, silent for too long; or nothing.

    A limit of the key's, a deadline of the request's and whatever else the server says of the request are no faults.
    """
    if isinstance(error, APITimeoutError):
        return "slow" if error.sent else ""
    if isinstance(error, APIConnectionError):
        return "elsewhere" if error.retryable else ""
    if error.status_code in AWAY and error.code != "deadline_exceeded":
        return "elsewhere"
    return "elsewhere" if error.code == "overloaded" else ""


def asked_of(body: object) -> Asked:
    """Read a request: its question, by which it finds its server again, and how many sequences it asks for."""
    if not isinstance(body, Mapping):
        return Asked()
    fields = cast(Mapping[str, object], body)
    question, n, explanations = fields.get("question"), fields.get("n"), fields.get("explanations")
    weight = len(explanations) if isinstance(explanations, Sized) else n if isinstance(n, int) else 1
    return Asked(question if isinstance(question, str) else None, min(max(weight, 1), HEAVIEST))


def _sent(error: APIError) -> bool:
    return not isinstance(error, APIConnectionError) or error.sent
