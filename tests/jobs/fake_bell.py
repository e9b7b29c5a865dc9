"""A bell without a broker."""

from rlt_core.errors import UnavailableError


class FakeBell:
    """Remembers what was rung; `away` plays a broker outage, `heard` a worker."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.away = False
        self.waiting = 0

    def ring(self, queue: str) -> None:
        if self.away:
            raise UnavailableError("no broker")
        self.rung.append(queue)
        self.waiting += 1

    def sounding(self, queue: str) -> bool:
        if self.away:
            raise UnavailableError("no broker")
        return self.waiting > 0
