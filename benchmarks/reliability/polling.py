"""Own a client that follows jobs at a control service which nobody harms: it hears answers, whatever is harmed."""

import threading
from collections import Counter

import httpx

POLL_EVERY_S = 0.2
ANSWER_S = 60.0
ALLOWED = frozenset({"200", "429", "503"})
"""503 where the database did not take a write, or the engine is away."""


class Poller:
    """Asks for jobs, for the events of the newest, and for readiness, one after the other, in a thread of its own."""

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
        """Say what was no answer that a client may hear, or that nothing was heard."""
        found = [f"{what}: {times} times" for what, times in self.heard.items() if what.split()[-1] not in ALLOWED]
        return found if self.heard else ["nothing was polled"]

    def _run(self) -> None:
        with httpx.Client(base_url=self.address, timeout=ANSWER_S) as client:
            while not self._ended.wait(POLL_EVERY_S):
                jobs = self._ask(client, "/v1/jobs", "/v1/jobs?limit=5")
                self._ask(client, "/readyz", "/readyz")
                if jobs is not None and (listed := jobs.json()["data"]):
                    self._ask(client, "/v1/jobs/ID/events", f"/v1/jobs/{listed[-1]['id']}/events")

    def _ask(self, client: httpx.Client, name: str, path: str) -> httpx.Response | None:
        """Ask once, and count it under a name; give what was answered well."""
        try:
            answer = client.get(path)
        except httpx.HTTPError as error:
            self.heard[f"{name} {type(error).__name__}"] += 1
            return None
        self.heard[f"{name} {answer.status_code}"] += 1
        return answer if answer.is_success else None
