"""What an installation wants of its jobs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rlt_core.schemas.jobs import StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRules:
    """How often jobs may crash, where they wait, how many run."""

    max_crashes: int = 3
    """Crashes in a row without progress that end a job."""
    queues: Mapping[StepKind, str] = field(default_factory=dict[StepKind, str])
    """Where a kind waits that needs other machines than the rest."""
    max_running: Mapping[StepKind, int] = field(default_factory=dict[StepKind, int])
    """How many of a kind run at once; a kind that is not named has no limit."""
