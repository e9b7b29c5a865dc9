"""Own the way of a trainer's events into the database: what people may see of each, and what the supervisor keeps."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlt_core.schemas.jobs import Progress
from rlt_core.schemas.trainer import (
    STORED_STEP,
    CheckpointEvent,
    CollectedEvent,
    ErrorEvent,
    EvaluatedEvent,
    EvaluationEvent,
    LogEvent,
    ProgressEvent,
    ResultEvent,
    TrainerEvent,
)
from rlt_service.jobs.event_tail import EventTail
from rlt_service.store.jobs import JobStore

LOGGER = logging.getLogger(__name__)

_PRIVATE = {"type", "path", "adapter_dir"}
"""Where files lie on this machine is nobody's business outside."""


class EventRelay:
    """Copies what is new, and remembers the last word of each kind that decides how the attempt ends."""

    def __init__(self, jobs: JobStore, *, job_id: str, attempt: int, path: Path) -> None:
        """Take the claim and the file that the trainer appends to."""
        self._jobs = jobs
        self._job_id = job_id
        self._attempt = attempt
        self._tail = EventTail(path)
        self._stored_step = path.with_name(STORED_STEP)
        self._unsent: list[TrainerEvent] = []
        self._warned: set[str] = set()
        self.step = 0
        """The furthest that the trainer told of."""
        self.result: ResultEvent | CollectedEvent | EvaluatedEvent | None = None
        self.evaluation: EvaluationEvent | None = None
        self.error: ErrorEvent | None = None

    def copy(self) -> None:
        """Copy all that is new in one transaction; raises StaleAttemptError, or UnavailableError and tries it again."""
        for event in self._tail.read():
            self._unsent += [event, *self._odd_metrics(event)]
        if not self._unsent:
            return
        progress: Progress | None = None
        for event in self._unsent:
            self._keep(event)
            if isinstance(event, ProgressEvent):
                progress = _progress(event)
        self._jobs.record(self._job_id, self._attempt, [_public(event) for event in self._unsent], progress=progress)
        stored = [event.step for event in self._unsent if isinstance(event, CheckpointEvent)]
        self._unsent = []
        if stored:
            self._tell_stored(stored[-1])
        if progress is not None:
            self.step = progress.step

    def _tell_stored(self, step: int) -> None:
        """Tell the trainer how far the database is: only what is behind that may go; untold, more stays."""
        partial = self._stored_step.with_name(f".{STORED_STEP}.part")
        try:
            partial.write_text(str(step), encoding="utf-8")
            partial.replace(self._stored_step)
        except OSError as error:
            LOGGER.warning("%s: the trainer keeps its checkpoints: %s", self._job_id, error)

    def _odd_metrics(self, event: TrainerEvent) -> list[LogEvent]:
        """Warn once of each metric that was no number."""
        names = event.not_finite if isinstance(event, ProgressEvent) else []
        fresh = [name for name in names if name not in self._warned]
        self._warned.update(fresh)
        if not fresh or not isinstance(event, ProgressEvent):
            return []
        message = f"not finite from step {event.step} on, and left out: {', '.join(fresh)}"
        return [LogEvent(level="warning", message=message)]

    def _keep(self, event: TrainerEvent) -> None:
        if isinstance(event, ResultEvent | CollectedEvent | EvaluatedEvent):
            self.result = event
        elif isinstance(event, EvaluationEvent):
            self.evaluation = event
        elif isinstance(event, ErrorEvent):
            self.error = event


def _progress(event: ProgressEvent) -> Progress:
    return Progress(step=event.step, total=event.total, eta_s=event.eta_s, metrics=event.metrics)


def _public(event: TrainerEvent) -> tuple[str, Mapping[str, Any]]:
    return event.type, event.model_dump(mode="json", exclude=_PRIVATE)
