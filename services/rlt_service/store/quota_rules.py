"""Own what a quota refuses and what it says then: which, the limit, the use, when it is free again. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Literal

from rlt_core.errors import QuotaExceededError

QuotaName = Literal["requests_per_day", "tokens_per_day", "jobs_at_once", "gpu_hours_per_month", "disk_bytes"]

_WORDS: dict[QuotaName, str] = {
    "requests_per_day": "calls today",
    "tokens_per_day": "tokens today",
    "jobs_at_once": "jobs that have not ended",
    "gpu_hours_per_month": "GPU-hours this month",
    "disk_bytes": "bytes of datasets and versions",
}
_FREED_BY: dict[QuotaName, str] = {
    "jobs_at_once": "when one of them ends or is cancelled",
    "disk_bytes": "when datasets or versions are deleted",
}


def day_of(now: datetime) -> str:
    """Name the day of an instant, in UTC."""
    return now.astimezone(UTC).date().isoformat()


def month_start(now: datetime) -> datetime:
    """Give the beginning of the month, in UTC."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def free_at(quota: QuotaName, now: datetime) -> datetime | None:
    """Give when a quota begins anew; None for what is freed by what callers do."""
    if quota in _FREED_BY:
        return None
    if quota == "gpu_hours_per_month":
        return month_start(month_start(now) + timedelta(days=32))
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def exceeded(
    project: str, quota: QuotaName, *, limit: float, used: float, now: datetime, asked: float | None = None
) -> QuotaExceededError:
    """Make the refusal; `asked` is what the call would have added, where that is known."""
    free = free_at(quota, now)
    more = "" if asked is None else f", and the call asks for {_shown(asked)} more"
    when = _FREED_BY[quota] if free is None else f"at {_instant(free)}"
    return QuotaExceededError(
        f"the project {project!r} has used {_shown(used)} of its {_shown(limit)} {_WORDS[quota]}{more} "
        f"({quota}): it is free again {when}; an operator may raise it (`rlt projects set`)",
        retry_after_s=None if free is None else (free - now).total_seconds(),
        extra={
            "quota": quota,
            "limit": limit,
            "used": used,
            "free_at": None if free is None else _instant(free),
        },
    )


def _shown(figure: float) -> str:
    return f"{figure:.2f}".rstrip("0").rstrip(".") if isinstance(figure, float) else str(figure)


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
