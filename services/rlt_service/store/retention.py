"""Own what becomes of attempts' folders once their job has ended: what no row names goes."""

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from rlt_core.schemas.jobs import TERMINAL
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.tables import JobEventRow, JobRow, RolloutRow

LOGGER = logging.getLogger(__name__)

KEEPING = ("checkpoint", "result", "collecting")
"""Events of a fenced attempt whose folder holds what they tell of."""


class Retention:
    """Removes the folders of earlier attempts; any number of processes may, also at the same time."""

    def __init__(self, database: Database, artifacts: ArtifactStore) -> None:
        """Take a started database and the artifact folders."""
        self._database = database
        self._artifacts = artifacts
        self._swept: set[str] = set()

    def sweep(self) -> None:
        """Remove what nobody names of each job that has ended; of one that has not, nothing."""
        with self._database.reading() as session:
            # A job with one attempt has no earlier one.
            ended = select(JobRow.id).where(JobRow.status.in_(TERMINAL), JobRow.attempt > 1)
            unseen = [job_id for job_id in session.scalars(ended) if job_id not in self._swept]
        for job_id in unseen:
            self._swept.add(job_id)  # before: a folder that cannot be looked at must not keep the others from it
            self._sweep(job_id)

    def _sweep(self, job_id: str) -> None:
        lying = self._artifacts.attempts(job_id)
        if not lying:
            return
        with self._database.reading() as session:
            named = _named(session, job_id)
        for attempt in sorted(lying - named):
            LOGGER.info("removing what attempt %d of %s left: no row names it", attempt, job_id)
            self._artifacts.discard(self._artifacts.attempt_dir(job_id, attempt))


def _named(session: Session, job_id: str) -> set[int]:
    """Give the attempts that rows name: the last one, and those of checkpoints, results and published policies."""
    last = select(JobRow.attempt).where(JobRow.id == job_id)
    told = select(JobEventRow.attempt).where(JobEventRow.job_id == job_id, JobEventRow.type.in_(KEEPING))
    published = select(RolloutRow.attempt).where(RolloutRow.job_id == job_id)
    return {attempt for query in (last, told, published) for attempt in session.scalars(query)}
