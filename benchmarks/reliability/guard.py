"""Own what a guard is: a promise, the few words of code that keep it, the fault tests that must miss them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Section = Literal[
    "job engine",
    "stop and cancel",
    "checkpoints",
    "waiting",
    "pipelines",
    "students",
    "same call twice",
    "serving",
    "scores",
    "security",
    "backup and upgrade",
]
SECTIONS: tuple[Section, ...] = get_args(Section)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One guard, by the few words of code without which the promise does not hold."""

    name: str
    section: Section
    promise: str
    file: str
    old: str
    """The guard; it stands exactly once in the file."""
    new: str
    """What stands there when it is taken out."""
    tests: Mapping[str, str]
    """Fault tests that must fail then, each with words of its failure: not just any failure counts."""

    @property
    def mutation(self) -> str:
        """Name by a hash what is taken out of where, and what must notice: a record of another is no proof of this."""
        parts = [self.file, self.old, self.new, *(part for pair in self.tests.items() for part in pair)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
