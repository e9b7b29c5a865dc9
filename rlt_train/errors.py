"""Own the errors that only a trainer meets; their codes stand in the job's error."""

from rlt_core.errors import InvalidRequestError, RltError


class RolloutMismatchError(RltError):
    """An answer that is not what was asked for: another version, prompt, temperature or student."""

    code, title = "rollout_mismatch", "Rollout mismatch"


class RolloutFailedError(RltError):
    """A generation that was cut off by the engine; worth another try."""

    code, status, title, retryable = "rollout_failed", 503, "Rollout failed", True


class RolloutsDroppedError(RltError):
    """More of a step's rollouts failed for good than may be left out; status and `retryable` are the last failure's."""

    code, title = "rollouts_dropped", "Rollouts dropped"


class DivergedError(RltError):
    """A step that would have ruined the weights; it was not taken."""

    code, title = "diverged", "Diverged"


class TrainingMemoryError(RltError):
    """Training that would not fit into memory; it was not begun."""

    code, title = "out_of_memory", "Out of memory"


class InvalidTrainingDataError(InvalidRequestError):
    """Rows that this kind of job cannot be trained on."""

    code, title = "invalid", "Invalid training data"


class UnfitCheckpointError(RltError):
    """A checkpoint that is not as it was written; an older one is taken in its place."""

    code, title = "unfit_checkpoint", "Unfit checkpoint"


class UnfitJournalError(RltError):
    """A step's journal that cannot be replayed; its rollouts are generated again."""

    code, title = "unfit_journal", "Unfit journal"


class StopRequested(Exception):
    """SIGTERM: leave at the next safe place, and save what stands."""
