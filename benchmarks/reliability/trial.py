"""Own what one trial of a fault says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One fault, put once to a running system."""

    row: str
    number: int
    seed: int
    fault: str
    passed: bool
    seconds: float
    detail: str
    figures: dict[str, float]
