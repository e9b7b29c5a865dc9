"""Own the shape of what several users of one server need: projects, what they have used, the audit log."""

from datetime import datetime

from sqlalchemy import BigInteger, Float, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from rlt_service.store.tables import Base, Ordinal, UtcDateTime


class ProjectRow(Base):
    """Whose keys share what they make; a quota that is null has no limit."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    requests_per_day: Mapped[int | None] = mapped_column(BigInteger)
    tokens_per_day: Mapped[int | None] = mapped_column(BigInteger)
    jobs_at_once: Mapped[int | None] = mapped_column(Integer)
    gpu_hours_per_month: Mapped[float | None] = mapped_column(Float)
    disk_bytes: Mapped[int | None] = mapped_column(BigInteger)


class ProjectUseRow(Base):
    """What a project has asked of engines on one day, as of the last write of each process."""

    __tablename__ = "project_uses"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    """In UTC, as `2030-01-31`."""
    requests: Mapped[int] = mapped_column(BigInteger)
    tokens: Mapped[int] = mapped_column(BigInteger)


class AuditRow(Base):
    """Append-only: who did what and when. No texts of callers; what is older than the installation keeps goes."""

    __tablename__ = "audit"

    ordinal: Mapped[int] = mapped_column(Ordinal, primary_key=True, autoincrement=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    key_id: Mapped[str | None] = mapped_column(String(16))
    """Null for what was done on the server's machine."""
    project_id: Mapped[str | None] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(120))
    """Method and route of a call, or a command."""
    subject: Mapped[str | None] = mapped_column(String(200))
    """Id or name of what was made or changed."""
    status: Mapped[int | None] = mapped_column(Integer)
    """Of the answer; null for a command."""
    request_id: Mapped[str | None] = mapped_column(String(128))
