"""Own the callers of a site: threads on the SDK, what they heard, and what the SDK made good by asking again."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

import httpx

from rlt_client import APIError, Client

RETRIES = 12
"""A deploy's callers are patient: nothing of the site is away for more than some seconds."""
TIMEOUT_S = 60.0
QUESTION, SOLUTION = "1 + 1?", "It is 2."
PAUSE_S = 0.05
"""Between two calls of a caller: the servers share the processors with everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One call as its caller saw it, in seconds of the wall clock, which also stamps what the database holds."""

    call: str
    asked_s: float
    answered_s: float
    version: str = ""
    """That answered, of `/explain`."""
    error: str = ""
    """Why it failed although it was sent again."""


class Underneath(httpx.BaseTransport):
    """The network, and a count of what it gave that was no answer: statuses of 500 and more, errors by name."""

    def __init__(self, counts: Counter[str]) -> None:
        self._network = httpx.HTTPTransport()
        self._counts = counts

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on."""
        try:
            response = self._network.handle_request(request)
        except httpx.HTTPError as error:
            self._counts[type(error).__name__] += 1
            raise
        if response.status_code >= 500:
            self._counts[str(response.status_code)] += 1
        return response

    def close(self) -> None:
        """Close the connections."""
        self._network.close()


@dataclass(slots=True)
class Callers:
    """So many callers, each one call after the other, from entering the block to leaving it."""

    address: str
    count: int
    answers: list[Answer] = field(default_factory=list[Answer])
    hidden: Counter[str] = field(default_factory=Counter[str])
    """What the SDK made good by asking again."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def __enter__(self) -> "Callers":
        """Let all begin."""
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(self.count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Let each finish its last call."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[Answer]:
        """Give the calls that failed for good."""
        return [answer for answer in self.answers if answer.error]

    def faults(self) -> list[str]:
        """Say what failed, and what no call ever reached."""
        found = [f"{answer.call}: {answer.error}" for answer in self.failed[:10]]
        done = Counter(answer.call for answer in self.answers if not answer.error)
        return found + [f"no {call} was answered" for call in CALLS if not done[call]]

    def _call(self, number: int) -> None:
        calls = itertools.cycle(CALLS.items())
        for _ in range(number):  # not all the same at once
            next(calls)
        with Client(self.address, timeout=TIMEOUT_S, max_retries=RETRIES, transport=Underneath(self.hidden)) as client:
            while not self._ended.wait(PAUSE_S):
                name, call = next(calls)
                self.answers.append(asked(name, call, client))


def asked(name: str, call: Callable[[Client], str], client: Client) -> Answer:
    """Make one call; gives the version that answered, where the call has one."""
    asked_s = time.time()
    try:
        version, error = call(client), ""
    except APIError as failed:
        version, error = "", f"{type(failed).__name__}: {failed}"[:300]
    return Answer(call=name, asked_s=asked_s, answered_s=time.time(), version=version, error=error)


def explain(client: Client) -> str:
    """Ask the served teacher."""
    return client.explain(question=QUESTION, solution=SOLUTION, max_tokens=16).teacher.version


def score_against_teacher(client: Client) -> str:
    """Have a student judge beside the served teacher, whose version it gives."""
    answer = client.score(question=QUESTION, solution=SOLUTION, explanations=["one more"], teacher="default")
    return "" if answer.teacher is None else answer.teacher.version


def _jobs(client: Client) -> str:
    client.jobs.list(limit=5)
    return ""


CALLS: dict[str, Callable[[Client], str]] = {"explain": explain, "score": score_against_teacher, "jobs": _jobs}
"""A call of each room."""
