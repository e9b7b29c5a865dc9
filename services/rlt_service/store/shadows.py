"""Own shadows and the pairs that they have collected: the newest of each alias, in the shape of evaluation rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, CursorResult, and_, delete, func, select, update
from sqlalchemy.orm import Session

from rlt_core.errors import ConflictError, NotFoundError
from rlt_core.schemas.base import now_utc
from rlt_core.schemas.shadows import Shadow, ShadowCounts
from rlt_core.schemas.teachers import EvaluationRow
from rlt_service.store import aliases, resolution
from rlt_service.store.database import Database
from rlt_service.store.documents import read_document
from rlt_service.store.retries import tried_again
from rlt_service.store.tables import AliasRow, ShadowPairRow, ShadowRow
from rlt_service.store.turns import take_turn

ROLE = "teacher"
"""Only teachers answer questions that somebody asks."""

Fate = Literal["answered", "skipped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPair:
    """One question as both answered it, judged by one student."""

    before: EvaluationRow
    after: EvaluationRow
    student: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one request that was drawn; `pair` where it was answered."""

    alias: str
    version: str
    fate: Fate
    pair: ShadowPair | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The pairs that a comparison can rest on: of what is served now, by who judges now."""

    before: str
    after: str
    student: str
    rows: Sequence[EvaluationRow]


class ShadowStore:
    """One shadow an alias at most; each method is one transaction."""

    def __init__(self, database: Database, *, max_pairs: int) -> None:
        """Take a started database, and how many pairs of an alias are kept."""
        self._database = database
        self._max_pairs = max_pairs

    @tried_again
    def put(self, alias: str, version: str, *, share: float, max_in_flight: int, student: str) -> Shadow:
        """Set an alias's shadow; the same candidate before the same student goes on counting.

        Raises NotFoundError for the alias, ModelNotFoundError, ConflictError where the version serves already.
        """
        with self._database.transaction() as session:
            candidate = resolution.live_version(session, version, role=ROLE, param="/version", lock=True)
            name = resolution.version_name(candidate)
            take_turn(session, "alias", ROLE, alias)
            if aliases.get(session, role=ROLE, alias=alias).version == name:
                raise ConflictError(
                    f"{name} is what the alias {alias!r} serves: name another version as its shadow", param="/version"
                )
            row = session.get(ShadowRow, (ROLE, alias), with_for_update=True)
            if row is not None and (row.version, row.student) != (name, student):
                aliases.end_shadow(session, row)
                row = None
            if row is None:
                row = ShadowRow(
                    role=ROLE,
                    alias=alias,
                    version=name,
                    student=student,
                    created_at=now_utc(),
                    answered=0,
                    skipped=0,
                    failed=0,
                )
                session.add(row)
            row.share, row.max_in_flight = share, max_in_flight
            session.flush()
            return _shadow(session, row)

    def get(self, alias: str) -> Shadow:
        """Return an alias's shadow; raises NotFoundError."""
        with self._database.reading() as session:
            return _shadow(session, _find(session, alias))

    @tried_again
    def end(self, alias: str) -> None:
        """Forget an alias's shadow and its pairs; raises NotFoundError."""
        with self._database.transaction() as session:
            take_turn(session, "alias", ROLE, alias)
            aliases.end_shadow(session, _find(session, alias))

    @tried_again
    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Count what became of drawn requests, and keep the newest pairs; what outlived its shadow is dropped."""
        fates = Counter((outcome.alias, outcome.version, outcome.fate) for outcome in outcomes)
        with self._database.transaction() as session:
            for alias, version in sorted({(outcome.alias, outcome.version) for outcome in outcomes}):
                counted = session.execute(
                    update(ShadowRow)
                    .where(ShadowRow.role == ROLE, ShadowRow.alias == alias, ShadowRow.version == version)
                    .values(
                        answered=ShadowRow.answered + fates[alias, version, "answered"],
                        skipped=ShadowRow.skipped + fates[alias, version, "skipped"],
                        failed=ShadowRow.failed + fates[alias, version, "failed"],
                    )
                )
                if cast(CursorResult[Any], counted).rowcount:
                    mine = [found for found in outcomes if (found.alias, found.version) == (alias, version)]
                    session.add_all(_pair_row(found.alias, found.pair) for found in mine if found.pair is not None)
                    self._trim(session, alias)

    def collected(self, alias: str) -> Collected:
        """Return what the shadow has to compare; raises NotFoundError."""
        with self._database.reading() as session:
            row = _find(session, alias)
            served, student = _opponents(session, row)
            query = select(ShadowPairRow).where(_counts(row, served=served, student=student))
            pairs = list(session.scalars(query.order_by(ShadowPairRow.ordinal)))
        documents = [*(pair.row_before for pair in pairs), *(pair.row_after for pair in pairs)]
        rows = [read_document(EvaluationRow, document) for document in documents]
        return Collected(before=served, after=row.version, student=student, rows=rows)

    def _trim(self, session: Session, alias: str) -> None:
        session.flush()
        mine = ShadowPairRow.alias == alias
        newest_first = select(ShadowPairRow.ordinal).where(mine).order_by(ShadowPairRow.ordinal.desc())
        last_out = session.scalar(newest_first.offset(self._max_pairs).limit(1))
        if last_out is not None:
            session.execute(delete(ShadowPairRow).where(mine, ShadowPairRow.ordinal <= last_out))


def _find(session: Session, alias: str) -> ShadowRow:
    aliases.get(session, role=ROLE, alias=alias)
    row = session.get(ShadowRow, (ROLE, alias))
    if row is None:
        raise NotFoundError(f"The teacher alias {alias!r} has no shadow: PUT one there first.", param="/alias")
    return row


def _opponents(session: Session, row: ShadowRow) -> tuple[str, str]:
    """Return what serves now, and the version that the student's name means now."""
    served = session.get_one(AliasRow, (row.role, row.alias)).version
    student = resolution.named_version(session, role="student", name=row.student)
    return served, resolution.version_name(student)


def _counts(row: ShadowRow, *, served: str, student: str) -> ColumnElement[bool]:
    """Select the pairs that compare what serves now with the candidate, by who judges now."""
    return and_(
        ShadowPairRow.alias == row.alias,
        ShadowPairRow.before == served,
        ShadowPairRow.after == row.version,
        ShadowPairRow.student == student,
    )


def _pair_row(alias: str, pair: ShadowPair) -> ShadowPairRow:
    return ShadowPairRow(
        alias=alias,
        before=pair.before.version,
        after=pair.after.version,
        student=pair.student,
        created_at=now_utc(),
        row_before=pair.before.model_dump(mode="json"),
        row_after=pair.after.model_dump(mode="json"),
    )


def _shadow(session: Session, row: ShadowRow) -> Shadow:
    served, student = _opponents(session, row)
    counted = _counts(row, served=served, student=student)
    pairs = session.scalar(select(func.count()).select_from(ShadowPairRow).where(counted))
    return Shadow(
        role=ROLE,
        alias=row.alias,
        version=row.version,
        served=served,
        share=row.share,
        max_in_flight=row.max_in_flight,
        student=row.student,
        created_at=row.created_at,
        counts=ShadowCounts(
            sampled=row.answered + row.skipped + row.failed,
            answered=row.answered,
            skipped=row.skipped,
            failed=row.failed,
        ),
        pairs=pairs or 0,
    )
