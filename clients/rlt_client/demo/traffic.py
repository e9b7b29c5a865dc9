"""Ask the served teacher now and then while it is trained and swapped, and note which version answered."""

import threading
from dataclasses import dataclass, field

from rlt_client import APIError, Client


@dataclass(slots=True)
class Answers:
    """What the traffic saw: requests, failures, and the versions in the order of their first answer."""

    requests: int = 0
    failed: int = 0
    versions: list[str] = field(default_factory=list[str])
    first_failure: str = ""


class Traffic:
    """A caller of POST /v1/explain in a thread of its own; a context manager."""

    def __init__(self, client: Client, *, alias: str, question: str, solution: str, period_s: float) -> None:
        """Ask `alias` the same short thing every `period_s` seconds."""
        self.answers = Answers()
        self._client = client
        self._alias = alias
        self._question = question
        self._solution = solution
        self._period_s = period_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-traffic", daemon=True)

    def __enter__(self) -> "Traffic":
        """Start asking."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the request in flight, then stop."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.ask()
            self._ended.wait(self._period_s)

    def ask(self) -> None:
        """Ask once and note the version that answered, or the failure."""
        self.answers.requests += 1
        try:
            answer = self._client.explain(
                question=self._question, solution=self._solution, teacher=self._alias, max_tokens=8
            )
        except APIError as error:
            self.answers.failed += 1
            self.answers.first_failure = self.answers.first_failure or str(error)
            return
        if not self.answers.versions or self.answers.versions[-1] != answer.teacher.version:
            self.answers.versions.append(answer.teacher.version)
