"""Own the shape of the database: one class a table; wire types and rules live elsewhere."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """An instant in UTC; SQLite has no time zones, so it gets naive UTC and gives it back aware."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC on the way in."""
        if value is None:
            return None
        instant = value.astimezone(UTC)
        return instant.replace(tzinfo=None) if dialect.name == "sqlite" else instant

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Attach UTC on the way out."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite numbers rows by itself only where the type is exactly INTEGER.
Ordinal = BigInteger().with_variant(Integer(), "sqlite")
Document = JSON(none_as_null=True)


class Base(DeclarativeBase):
    """Root of the tables; named constraints, so that later migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class JobRow(Base):
    """A job; `attempt` is the fence that every write of a running attempt carries."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_status", "status"),
        Index("ix_jobs_kind_status_attempt", "kind", "status", "attempt"),
        Index("ix_jobs_owner_status", "owner", "status"),
    )

    ordinal: Mapped[int] = mapped_column(Ordinal, primary_key=True, autoincrement=True)
    """Order of submission; ages and pages go by it, no clock does."""
    id: Mapped[str] = mapped_column(String(40), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str | None] = mapped_column(String(200))
    queue: Mapped[str] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(Integer)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    beat: Mapped[int] = mapped_column(BigInteger, default=0)
    worker: Mapped[str | None] = mapped_column(String(200))
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    pause_requested: Mapped[bool] = mapped_column(default=False)
    runtime_s: Mapped[float] = mapped_column(Float, default=0.0)
    """Seconds that its attempts have run so far, as of the last beat."""
    crashes: Mapped[int] = mapped_column(Integer, default=0)
    """In a row, without progress."""
    progress_attempt: Mapped[int] = mapped_column(Integer, default=0)
    """The last attempt that went beyond all before it: its crash does not count."""
    best_step: Mapped[int] = mapped_column(Integer, default=0)
    """Furthest step of any attempt: only what goes beyond it is progress."""
    last_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    spec_version: Mapped[int] = mapped_column(Integer, default=1)
    spec: Mapped[dict[str, Any]] = mapped_column(Document)
    progress: Mapped[dict[str, Any]] = mapped_column(Document)
    result: Mapped[dict[str, Any] | None] = mapped_column(Document)
    error: Mapped[dict[str, Any] | None] = mapped_column(Document)
    owner: Mapped[str | None] = mapped_column(String(16))
    """Project, or key without one, that it belongs to, and what it makes."""
    submitter: Mapped[str | None] = mapped_column(String(16))
    """Key that it was submitted with; null in rows of releases whose owners were keys."""
    processes: Mapped[int | None] = mapped_column(Integer)
    """Most that it trains in at once; null in rows of earlier releases."""
    max_runtime_s: Mapped[float | None] = mapped_column(Float)
    """As its spec says."""
    traceparent: Mapped[str | None] = mapped_column(String(55))
    """Where in which trace it was submitted; null for jobs of releases that kept none."""
    pipeline_id: Mapped[str | None] = mapped_column(String(40), index=True)
    """Whose step it is; null for a job of its own."""
    pipeline_round: Mapped[int | None] = mapped_column(Integer)
    pipeline_step: Mapped[str | None] = mapped_column(String(40))


Index("ix_jobs_claims", JobRow.queue, JobRow.status, JobRow.priority.desc(), JobRow.ordinal)
"""The order of claims: the next job is the first that is due, however many wait."""


class PipelineStepRow(Base):
    """Which job is a pipeline's step; the key is why none is ever handed in twice."""

    __tablename__ = "pipeline_steps"

    pipeline_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    step: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    taken_over: Mapped[bool] = mapped_column(default=False)
    """Whether it is the step of an earlier pipeline, whose result holds here too."""
    ended: Mapped[bool] = mapped_column(default=False)
    """Whether the pipeline's events have told of its end."""


class JobEventRow(Base):
    """Append-only history of a job; `seq` counts from 1 without gaps."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    type: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]] = mapped_column(Document)


class OutboxRow(Base):
    """A bell that has not been rung yet; written with the job, deleted when the broker has the message."""

    __tablename__ = "outbox"
    # Numbers are never used twice, so that a late `rung` cannot forget the bell of a newer row.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy reads a plain dict

    ordinal: Mapped[int] = mapped_column(Ordinal, primary_key=True, autoincrement=True)
    queue: Mapped[str] = mapped_column(String(40))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Not before; null is at once."""


class BellRow(Base):
    """How often a queue was rung again in vain, and until when nobody rings it again."""

    __tablename__ = "bells"

    queue: Mapped[str] = mapped_column(String(40), primary_key=True)
    rings: Mapped[int] = mapped_column(Integer, default=0)
    quiet_until: Mapped[datetime] = mapped_column(UtcDateTime)


class KeyRow(Base):
    """An API key, or the one of a running attempt's trainer; its secret is known to its holder alone."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(Document)
    max_per_minute: Mapped[int | None] = mapped_column(Integer)
    max_at_once: Mapped[int | None] = mapped_column(Integer)
    project_id: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    job_id: Mapped[str | None] = mapped_column(String(40), index=True)
    attempt: Mapped[int | None] = mapped_column(Integer)


class IdempotentCallRow(Base):
    """The first answer to calls with a key."""

    __tablename__ = "idempotent_calls"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """Of method, path, query and body."""
    status: Mapped[int] = mapped_column(Integer)
    headers: Mapped[dict[str, str]] = mapped_column(Document)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class DatasetTable(Base):
    """A stored dataset; its rows lie in a file under the artifact root."""

    __tablename__ = "datasets"

    ordinal: Mapped[int] = mapped_column(Ordinal, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    rows: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    columns: Mapped[list[str]] = mapped_column(Document)
    owner: Mapped[str | None] = mapped_column(String(16))


class VersionRow(Base):
    """An immutable version; number 0 is an untrained base."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("name", "number", name="uq_versions_name_number"),)

    ordinal: Mapped[int] = mapped_column(Ordinal, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(63))
    number: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(16))
    """What it was made for; of a base, `student` where another base plays the teacher."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    base_model: Mapped[str] = mapped_column(String(300))
    format: Mapped[str] = mapped_column(String(80))
    adapter_sha256: Mapped[str | None] = mapped_column(String(64))
    weights_sha256: Mapped[str | None] = mapped_column(String(64))
    """Of a fully trained version, which has no adapter."""
    lora_rank: Mapped[int | None] = mapped_column(Integer)
    parent: Mapped[str | None] = mapped_column(String(80))
    job_id: Mapped[str | None] = mapped_column(String(40), unique=True)
    """One result a job, however many attempts it took."""
    dataset_id: Mapped[str | None] = mapped_column(String(40))
    dataset_sha256: Mapped[str | None] = mapped_column(String(64))
    code_version: Mapped[str | None] = mapped_column(String(80))
    ensured_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a server last started with this base; null for trained versions."""
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Set for good: the row keeps the number from being given again, and what the version came from."""
    owner: Mapped[str | None] = mapped_column(String(16))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Of its files; null for bases, and in rows of earlier releases."""


class RolloutRow(Base):
    """A rollout adapter of (job, attempt, step): callable by its exact name, in no list."""

    __tablename__ = "rollouts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    sha256: Mapped[str] = mapped_column(String(64))
    base_model: Mapped[str] = mapped_column(String(300))
    format: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AliasRow(Base):
    """What a name of a role points at now."""

    __tablename__ = "aliases"

    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    alias: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[str] = mapped_column(String(80))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class VersionUseRow(Base):
    """A process that runs requests on a version, as long as it beats."""

    __tablename__ = "version_uses"
    __table_args__ = (Index("ix_version_uses_version", "version"),)

    process: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[str] = mapped_column(String(80), primary_key=True)
    beat: Mapped[int] = mapped_column(BigInteger)


class ShadowRow(Base):
    """The candidate that answers a sample of an alias's traffic unseen, and how often it did."""

    __tablename__ = "shadows"
    __table_args__ = (
        ForeignKeyConstraint(["role", "alias"], ["aliases.role", "aliases.alias"], name="fk_shadows_role_aliases"),
    )

    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    alias: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[str] = mapped_column(String(80))
    share: Mapped[float] = mapped_column(Float)
    max_in_flight: Mapped[int] = mapped_column(Integer)
    student: Mapped[str] = mapped_column(String(200))
    """As it was named; each pair says which version that was."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    answered: Mapped[int] = mapped_column(BigInteger, default=0)
    skipped: Mapped[int] = mapped_column(BigInteger, default=0)
    failed: Mapped[int] = mapped_column(BigInteger, default=0)


class ShadowPairRow(Base):
    """One question of live traffic as the served version and the candidate answered it; rows as in an evaluation."""

    __tablename__ = "shadow_pairs"

    ordinal: Mapped[int] = mapped_column(Ordinal, primary_key=True, autoincrement=True)
    alias: Mapped[str] = mapped_column(String(63), index=True)
    before: Mapped[str] = mapped_column(String(80))
    after: Mapped[str] = mapped_column(String(80))
    student: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    row_before: Mapped[dict[str, Any]] = mapped_column(Document)
    row_after: Mapped[dict[str, Any]] = mapped_column(Document)


class AliasChangeRow(Base):
    """Append-only moves of aliases."""

    __tablename__ = "alias_changes"
    __table_args__ = (Index("ix_alias_changes_role_alias", "role", "alias"),)

    ordinal: Mapped[int] = mapped_column(Ordinal, primary_key=True, autoincrement=True)
    role: Mapped[str] = mapped_column(String(16))
    alias: Mapped[str] = mapped_column(String(63))
    version: Mapped[str] = mapped_column(String(80), index=True)
    previous: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(100), server_default="unknown")
    reason: Mapped[str] = mapped_column(Text)
    evaluation: Mapped[str | None] = mapped_column(String(40))


class EvaluationTable(Base):
    """A held-out comparison; `body` is the wire type."""

    __tablename__ = "evaluations"
    __table_args__ = (Index("ix_evaluations_before_after", "before", "after"),)

    ordinal: Mapped[int] = mapped_column(Ordinal, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    before: Mapped[str] = mapped_column(String(80))
    after: Mapped[str] = mapped_column(String(80), index=True)
    job_id: Mapped[str | None] = mapped_column(String(40), index=True)
    body: Mapped[dict[str, Any]] = mapped_column(Document)
    owner: Mapped[str | None] = mapped_column(String(16))


class EvaluationRowTable(Base):
    """One question of an evaluation, answered by one version."""

    __tablename__ = "evaluation_rows"

    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    body: Mapped[dict[str, Any]] = mapped_column(Document)
