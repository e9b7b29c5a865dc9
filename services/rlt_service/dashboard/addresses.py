"""Own what the address of a page holds: each view of the dashboard is a link that can be shared. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, get_args
from urllib.parse import quote, urlencode

from rlt_core.schemas.jobs import SPECS, JobStatus

STATUSES: Final = get_args(JobStatus)
KINDS: Final = (*SPECS, "pipeline")
TABS: Final = ("overview", "samples", "events", "log", "spec")
MOST_COMPARED: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class JobList:
    """A page of the list of jobs."""

    status: str | None = None
    kind: str | None = None
    after: str | None = None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "JobList":
        """Read it; what is no status or kind counts as none."""
        status, kind = query.get("status"), query.get("kind")
        return cls(
            status=status if status in STATUSES else None,
            kind=kind if kind in KINDS else None,
            after=query.get("after") or None,
        )

    def at(self, after: str | None) -> "JobList":
        """Give the page that begins after a job."""
        return replace(self, after=after)

    @property
    def address(self) -> str:
        """Write it."""
        return with_query("/jobs", {"status": self.status, "kind": self.kind, "after": self.after})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """What of a job is looked at."""

    id: str
    tab: str = "overview"
    step: int | None = None

    @classmethod
    def of(cls, job_id: str, query: Mapping[str, str]) -> "JobPage":
        """Read it; an unknown tab is the first, a step that is no number none."""
        tab, step = query.get("tab", TABS[0]), query.get("step", "")
        return cls(id=job_id, tab=tab if tab in TABS else TABS[0], step=number(step))

    @property
    def address(self) -> str:
        """Write it."""
        tab = None if self.tab == TABS[0] else self.tab
        return with_query(f"/jobs/{quote(self.id)}", {"tab": tab, "step": self.step})

    def on(self, tab: str) -> "JobPage":
        """Give another tab of the same job."""
        return replace(self, tab=tab, step=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several jobs on one plot."""

    jobs: tuple[str, ...]
    metric: str | None = None

    @classmethod
    def of(cls, jobs: Sequence[str], metric: str | None) -> "Comparison":
        """Read it: each job once, the first few."""
        return cls(jobs=tuple(dict.fromkeys(jobs))[:MOST_COMPARED], metric=metric or None)

    @property
    def address(self) -> str:
        """Write it."""
        pairs = [("job", job) for job in self.jobs] + ([("metric", self.metric)] if self.metric else [])
        return f"/jobs/compare?{urlencode(pairs)}"


def with_query(path: str, query: Mapping[str, str | int | None]) -> str:
    """Write an address; what is None is left out."""
    present = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(present)}" if present else path


def number(text: str, *, most: int = 2**53) -> int | None:
    """Read a whole number from an address; None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= most else None


def own_path(address: str) -> str:
    """Give an address to go on to, where it is one of this server's; else the first page."""
    safe = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if safe else "/"
