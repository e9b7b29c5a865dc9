"""Own the moves of aliases: compare-and-swap, with an append-only history. Works inside a given session."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from rlt_core.errors import AliasMovedError, InvalidRequestError, NotFoundError
from rlt_core.schemas.base import Role, now_utc
from rlt_core.schemas.teachers import Alias, AliasChange, AliasHistory
from rlt_service.store.tables import AliasChangeRow, AliasRow, ShadowPairRow, ShadowRow
from rlt_service.store.turns import take_turn


def move(
    session: Session,
    *,
    role: Role,
    alias: str,
    version: str,
    expected: str | None,
    reason: str,
    by: str,
    evaluation: str | None = None,
) -> Alias:
    """Point an alias at a version if it points at `expected` now (None: it is new); raises AliasMovedError."""
    take_turn(session, "alias", role, alias)  # two that make it new have no row to wait for
    row = session.get(AliasRow, (role, alias), with_for_update=True)
    present = row.version if row is not None else None
    if present != expected:
        raise AliasMovedError(
            f"The {role} alias {alias!r} points at {present or 'nothing yet'}, not at {expected or 'nothing'}: "
            f"read it again and send expected={present!r} if the move is still wanted.",
            param="/expected",
            extra={"version": present},
        )
    now = now_utc()
    if row is None:
        row = AliasRow(role=role, alias=alias, version=version, updated_at=now)
        session.add(row)
    row.version, row.updated_at = version, now
    session.add(
        AliasChangeRow(
            role=role,
            alias=alias,
            version=version,
            previous=present,
            created_at=now,
            by=by,
            reason=reason,
            evaluation=evaluation,
        )
    )
    session.flush()
    shadow = session.get(ShadowRow, (role, alias))
    if shadow is not None and shadow.version == version:  # what serves has nothing to be compared with
        end_shadow(session, shadow)
    return _alias(row)


def end_shadow(session: Session, shadow: ShadowRow) -> None:
    """Forget a shadow and its pairs."""
    session.delete(shadow)
    session.execute(delete(ShadowPairRow).where(ShadowPairRow.alias == shadow.alias))
    session.flush()


def every(session: Session) -> list[Alias]:
    """Return all aliases, by role and name."""
    return [_alias(row) for row in session.scalars(select(AliasRow).order_by(AliasRow.role, AliasRow.alias))]


def get(session: Session, *, role: Role, alias: str) -> Alias:
    """Return one alias; raises NotFoundError."""
    row = session.get(AliasRow, (role, alias))
    if row is None:
        raise NotFoundError(f"There is no {role} alias {alias!r}; GET /v1/aliases lists them.", param="/alias")
    return _alias(row)


def history(session: Session, *, role: Role, alias: str, limit: int, after: str | None) -> AliasHistory:
    """Return moves of one alias, newest first; `after` is the `last_id` of the page before."""
    get(session, role=role, alias=alias)
    query = select(AliasChangeRow).where(AliasChangeRow.role == role, AliasChangeRow.alias == alias)
    if after is not None:
        if not after.isdecimal():
            raise InvalidRequestError(f"`after` is no id of this list: {after!r}.", param="/after")
        query = query.where(AliasChangeRow.ordinal < int(after))
    rows = list(session.scalars(query.order_by(AliasChangeRow.ordinal.desc()).limit(limit + 1)))
    page = rows[:limit]
    return AliasHistory(
        data=[change(row) for row in page],
        has_more=len(rows) > limit,
        last_id=str(page[-1].ordinal) if page else None,
    )


def change(row: AliasChangeRow) -> AliasChange:
    """Convert a row of the history."""
    return AliasChange(
        role="teacher" if row.role == "teacher" else "student",
        alias=row.alias,
        version=row.version,
        previous=row.previous,
        created_at=row.created_at,
        by=row.by,
        reason=row.reason,
        evaluation=row.evaluation,
    )


def _alias(row: AliasRow) -> Alias:
    role: Role = "teacher" if row.role == "teacher" else "student"
    return Alias(role=role, alias=row.alias, version=row.version, updated_at=row.updated_at)
