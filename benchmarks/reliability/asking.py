"""Own a client that asks for explanations while everything is harmed: what it may hear, and what it may not."""

import threading
from collections import Counter

import httpx

from benchmarks.reliability.plant import Plant

ASK_EVERY_S = 0.2
ANSWER_S = 60.0
ALLOWED = frozenset({"200", "429", "503"})
CUT = frozenset({"ConnectError", "ReadError", "RemoteProtocolError", "WriteError"})
"""What a client hears of a server that was killed."""
BODY = {"question": "1+1?", "solution": "2", "max_tokens": 8}


class Asker:
    """Asks one call after the other, in a thread of its own."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.heard: Counter[str] = Counter()
        """Statuses, and names of errors where no answer came."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Wait for the last answer."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._plant.address, timeout=ANSWER_S) as client:
            while not self._ended.wait(ASK_EVERY_S):
                self.heard[_asked(client)] += 1


def ask(plant: Plant) -> str:
    """Ask once; give the status, or the name of the error."""
    with httpx.Client(base_url=plant.address, timeout=ANSWER_S) as client:
        return _asked(client)


def faults_of(heard: Counter[str]) -> list[str]:
    """Say what a client must not hear: other answers, a call that hangs, nothing but refusals."""
    found = [f"/v1/explain: {what} {times} times" for what, times in heard.items() if what not in ALLOWED | CUT]
    return found if heard["200"] else [*found, "no explanation was made"]


def _asked(client: httpx.Client) -> str:
    try:
        return str(client.post("/v1/explain", json=BODY).status_code)
    except httpx.HTTPError as error:
        return type(error).__name__
