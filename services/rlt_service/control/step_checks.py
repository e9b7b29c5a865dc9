"""Own the checks of a pipeline's step when its time has come: those of a submission, with its submitter's eyes."""

from collections.abc import Callable
from dataclasses import dataclass

from rlt_core.schemas.jobs import AnySpec
from rlt_service.control.submission import Submission
from rlt_service.store.keys import KeyStore
from rlt_service.store.ownership import VIEWER


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChecks:
    """Checks without a call that would say whose they are."""

    submission: Callable[[], Submission]
    """Made anew each time: an engine may have started since."""
    keys: KeyStore

    def check(self, spec: AnySpec, pipeline_id: str) -> None:
        """Raise what the checks of the spec's kind raise; what is not its submitter's is not found."""
        token = VIEWER.set(self.keys.viewer_of_job(pipeline_id))
        try:
            self.submission().examine(spec)
        finally:
            VIEWER.reset(token)
