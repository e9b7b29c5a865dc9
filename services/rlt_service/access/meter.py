"""Own how many calls and tokens projects ask of the engines of this process, and who is refused for it.

Counted in memory, told to the database within a second, and read back with what other processes have told: a project
can go beyond its day's quota by what all processes admit in that second, and by the tokens of calls that are running.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from rlt_core.errors import RltError
from rlt_core.schemas.base import now_utc
from rlt_service.store.project_uses import Counted, ProjectDay, ProjectUses
from rlt_service.store.quota_rules import QuotaName, day_of, exceeded

LOGGER = logging.getLogger(__name__)
PERIOD_S = 1.0
"""Between two tellings."""
REMEMBERED_S = 2.0
"""How long what was read holds where nothing has been told since."""


@dataclass(slots=True, kw_only=True)
class _Account:
    day: str
    known: ProjectDay | None
    read_at: float
    untold: Counted = field(default_factory=Counted)


class Meter:
    """Counts for the projects whose calls this process answers."""

    def __init__(
        self, uses: ProjectUses, *, clock: Callable[[], float] = monotonic, now: Callable[[], datetime] = now_utc
    ) -> None:
        """Take where to tell, and the clocks: the monotonic one for ages, the wall's for days."""
        self._uses = uses
        self._clock = clock
        self._now = now
        self._accounts: dict[str, _Account] = {}
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="project-meter", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """End, and tell the rest."""
        self._stopping.set()
        self._thread.join()
        self.tell()

    async def admit(self, project_id: str) -> None:
        """Count a call; raises QuotaExceededError, and then it counts for nothing."""
        account = self._accounts.get(project_id)
        day = day_of(self._now())
        if account is None or account.day != day or self._clock() - account.read_at >= REMEMBERED_S:
            await asyncio.to_thread(self._exchange, project_id)
        with self._lock:
            account = self._accounts[project_id]
            self._check(account)
            account.untold = account.untold.plus(Counted(requests=1))

    def spend(self, project_id: str, tokens: int) -> None:
        """Count tokens of a call that was admitted."""
        with self._lock:
            account = self._accounts[project_id]
            account.untold = account.untold.plus(Counted(tokens=tokens))

    def tell(self) -> None:
        """Tell what has been counted since the last time; what cannot be told now is told later."""
        with self._lock:
            waiting = [project_id for project_id, account in self._accounts.items() if account.untold != Counted()]
        for project_id in waiting:
            try:
                self._exchange(project_id)
            except RltError as error:
                LOGGER.warning("could not tell what %s has used: %s", project_id, error.detail)

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            self.tell()

    def _exchange(self, project_id: str) -> None:
        """Tell, and read what all have told."""
        with self._telling:  # one at a time: of two answers the older must not stand
            day = day_of(self._now())
            with self._lock:
                account = self._accounts.get(project_id)
                told, told_day = (Counted(), day) if account is None else (account.untold, account.day)
            known = self._uses.add(project_id, told_day, told)
            if told_day != day:
                known = self._uses.add(project_id, day, Counted())
            with self._lock:
                untold = Counted() if account is None else _less(account.untold, told)
                self._accounts[project_id] = _Account(day=day, known=known, read_at=self._clock(), untold=untold)

    def _check(self, account: _Account) -> None:
        known = account.known
        if known is None:
            return
        used = known.told.plus(account.untold)
        limits: tuple[tuple[QuotaName, int | None, int], ...] = (
            ("requests_per_day", known.quotas.requests_per_day, used.requests),
            ("tokens_per_day", known.quotas.tokens_per_day, used.tokens),
        )
        for quota, limit, so_far in limits:
            if limit is not None and so_far >= limit:
                raise exceeded(known.name, quota, limit=limit, used=so_far, now=self._now())


def _less(whole: Counted, part: Counted) -> Counted:
    return Counted(requests=whole.requests - part.requests, tokens=whole.tokens - part.tokens)
