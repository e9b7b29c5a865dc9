"""A patience whose time passes only in its own sleeps."""

from dataclasses import dataclass, field

from rlt_train.patience import Patience


@dataclass
class Clock:
    """Time that passes only in sleeps."""

    now_s: float = 0.0
    told: list[str] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def patience(self) -> Patience:
        return Patience(report=self.told.append, sleep=self.sleep, monotonic=lambda: self.now_s)
