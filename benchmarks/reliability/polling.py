"""Own a client that follows jobs at a control service which nobody harms: it hears answers, whatever is harmed."""

import threading
from collections import Counter
from collections.abc import Callable

import httpx

POLL_EVERY_S = 0.5
ANSWER_S = 60.0
ALLOWED = frozenset({"200", "429", "503"})
"""503 where the database did not take a write, or the engine is away."""


class Poller:
    """Asks for readiness and for jobs, and follows one for a moment, again and again, in a thread of its own."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.heard: Counter[str] = Counter()
        """Statuses by path, and names of errors where no answer came."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Wait for the last answer."""
        self._ended.set()
        self._thread.join()

    def faults(self) -> list[str]:
        """Say what was no answer that a client may hear, or that no jobs were listed."""
        found = [f"{what}: {times} times" for what, times in self.heard.items() if what.split()[-1] not in ALLOWED]
        return found if self.heard["/v1/jobs 200"] else [*found, "no jobs were listed"]

    def _run(self) -> None:
        with httpx.Client(base_url=self.address, timeout=ANSWER_S) as client:
            while not self._ended.wait(POLL_EVERY_S):
                self._count("/readyz", lambda: client.get("/readyz").status_code)
                self._count("/v1/jobs", lambda: self._jobs(client))

    def _jobs(self, client: httpx.Client) -> int:
        """List jobs, and follow one of the newest; gives the list's status."""
        answer = client.get("/v1/jobs", params={"limit": 5})
        if answer.is_success and (listed := answer.json()["data"]):
            self._count("/v1/jobs/ID/events", lambda: self._follow(client, listed[-1]["id"]))
        return answer.status_code

    @staticmethod
    def _follow(client: httpx.Client, job: str) -> int:
        """Read a line of a job's stream, and go away."""
        with client.stream("GET", f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream"}) as answer:
            next(answer.iter_lines(), "")
            return answer.status_code

    def _count(self, path: str, ask: Callable[[], int]) -> None:
        try:
            heard = str(ask())
        except httpx.HTTPError as error:
            heard = type(error).__name__
        self.heard[f"{path} {heard}"] += 1
