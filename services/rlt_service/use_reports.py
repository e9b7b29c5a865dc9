"""Own the thread that tells the other processes which versions requests run on here."""

import logging
import threading
from uuid import uuid4

from rlt_core.errors import RltError
from rlt_service.leases import Leases
from rlt_service.store.version_uses import VersionUses

LOGGER = logging.getLogger(__name__)
PERIOD_S = 1.0
"""Between two reports; a request that began since the last one is not known elsewhere yet."""


class UseReports:
    """Reports while requests run on trained versions; bases, which nobody can delete, are not worth a write."""

    def __init__(self, leases: Leases, uses: VersionUses) -> None:
        """Take the counts of this process, and where to tell."""
        self.process = uuid4().hex
        self._leases = leases
        self._uses = uses
        self._told = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="use-reports", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and take back what was told."""
        self._stopping.set()
        self._thread.join()
        if self._told:
            self._report(())

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            versions = [version for version in self._leases.versions() if not version.endswith("@0")]
            if versions or self._told:
                self._report(versions)

    def _report(self, versions: list[str] | tuple[()]) -> None:
        try:
            self._uses.report(self.process, versions)
            self._told = bool(versions)
        except RltError as error:  # said again in a second
            LOGGER.warning("could not tell which versions are in use: %s", error.detail)
