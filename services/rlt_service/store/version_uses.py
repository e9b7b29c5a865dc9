"""Own which process runs requests on which version: rows that beat while they are true. No wall clock decides."""

from collections.abc import Collection, Mapping

from sqlalchemy import delete, select, update

from rlt_service.store.database import Database
from rlt_service.store.tables import VersionUseRow


class VersionUses:
    """Told by serving processes, read by whoever would delete a version."""

    def __init__(self, database: Database) -> None:
        """Take a started database."""
        self._database = database

    def report(self, process: str, versions: Collection[str]) -> None:
        """Say which versions a process runs requests on; what it no longer does is forgotten."""
        mine = VersionUseRow.process == process
        with self._database.transaction() as session:
            session.execute(delete(VersionUseRow).where(mine, VersionUseRow.version.not_in(versions)))
            session.execute(update(VersionUseRow).where(mine).values(beat=VersionUseRow.beat + 1))
            known = set(session.scalars(select(VersionUseRow.version).where(mine)))
            session.add_all(
                VersionUseRow(process=process, version=version, beat=0) for version in set(versions) - known
            )

    def beats(self, version: str, *, besides: str) -> Mapping[str, int]:
        """Give the beats of other processes that have said that they run requests on a version."""
        with self._database.reading() as session:
            query = select(VersionUseRow.process, VersionUseRow.beat).where(
                VersionUseRow.version == version, VersionUseRow.process != besides
            )
            return {row.process: row.beat for row in session.execute(query)}

    def forget(self, processes: Collection[str]) -> None:
        """Drop the rows of processes that have ended."""
        with self._database.transaction() as session:
            session.execute(delete(VersionUseRow).where(VersionUseRow.process.in_(processes)))
