"""Own every error that crosses a package border: one root, stable codes, the same code in JSON and in the SDK.

A message says what was wrong, the value that was seen, and what to do about it.
"""

from typing import Any


class RltError(Exception):
    """Root of the project's errors; `code` is stable and part of the HTTP contract."""

    code: str = "internal_error"
    status: int = 500
    title: str = "Internal error"
    retryable: bool = False

    def __init__(
        self,
        detail: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Keep the human sentence, the JSON pointer at fault, and the wait that would help (seconds)."""
        super().__init__(detail)
        self.detail = detail
        self.param = param
        self.retry_after_s = retry_after_s
        self.extra = dict(extra or {})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with keyword arguments intact, so that the error survives a process border."""
        return (_rebuild, (type(self), self.detail, self.param, self.retry_after_s, self.extra))


def _rebuild(
    kind: type[RltError], detail: str, param: str | None, retry_after_s: float | None, extra: dict[str, Any]
) -> RltError:
    return kind(detail, param=param, retry_after_s=retry_after_s, extra=extra)


class InternalError(RltError):
    """Something of ours broke; the log has the traceback under the request id."""


class MalformedRequestError(RltError, ValueError):
    """The body is not JSON, or not JSON that we read (NaN, a name twice, too deep)."""

    code, status, title = "malformed_request", 400, "Malformed request"


class InvalidRequestError(RltError, ValueError):
    """The request is well formed and cannot be carried out as written; `param` points at the field."""

    code, status, title = "invalid_request", 422, "Invalid request"


class UnknownFieldError(InvalidRequestError):
    """A field that the contract does not have."""

    code, title = "unknown_field", "Unknown field"


class PromptTooLongError(InvalidRequestError):
    """Prompt and completion together exceed what the engine holds; the message says both lengths."""

    code, title = "prompt_too_long", "Prompt too long"


class InvalidTokenIdsError(InvalidRequestError):
    """Token ids from a caller that hold control ids or lie outside the vocabulary."""

    code, title = "invalid_token_ids", "Invalid token ids"


class MixedTermsError(InvalidRequestError):
    """Scores of one request must hold the same reward terms."""

    code, title = "mixed_terms", "Mixed reward terms"


class InvalidDatasetError(InvalidRequestError):
    """An upload with bad lines; `extra['lines']` lists the first hundred with their numbers."""

    code, title = "invalid_dataset", "Invalid dataset"


class InvalidAdapterError(InvalidRequestError):
    """Adapter files that cannot serve: missing, corrupt, not finite, of another base or rank."""

    code, title = "invalid_adapter", "Invalid adapter"


class InvalidWeightsError(InvalidRequestError):
    """A fully trained model's files that cannot serve: missing, corrupt, not finite, not of the base's shape."""

    code, title = "invalid_weights", "Invalid weights"


class NotAvailableYetError(InvalidRequestError):
    """A field of the contract that this server does not carry out yet."""

    code, title = "not_available_yet", "Not available yet"


class NotImplementedYetError(RltError):
    """A call of the contract that this server does not carry out yet."""

    code, status, title = "not_available_yet", 501, "Not available yet"


class UnauthenticatedError(RltError):
    """No key came with the call, or one that is unknown or revoked."""

    code, status, title = "unauthenticated", 401, "Unauthenticated"


class ForbiddenError(RltError):
    """The caller may not do this."""

    code, status, title = "forbidden", 403, "Forbidden"


class NotFoundError(RltError, LookupError):
    """No such thing here (or it is not yours)."""

    code, status, title = "not_found", 404, "Not found"


class ModelNotFoundError(NotFoundError):
    """No teacher or student, version or alias of that name."""

    code, title = "model_not_found", "Model not found"


class ConflictError(RltError):
    """The state of the thing does not allow the call."""

    code, status, title = "conflict", 409, "Conflict"


class AliasMovedError(ConflictError):
    """`expected` names another version than the alias points at."""

    code, title = "alias_moved", "Alias moved"


class EvaluationRequiredError(ConflictError):
    """A gated promotion needs a stored evaluation of exactly these two versions."""

    code, title = "evaluation_required", "Evaluation required"


class NotBetterError(ConflictError):
    """The evaluation's 95% interval does not lie above zero, or fewer explanations were closed."""

    code, title = "not_better", "Not better"


class VersionInUseError(ConflictError):
    """A version that something still needs cannot be deleted; `extra['used_by']` says what."""

    code, title = "version_in_use", "Version in use"


class JobStateError(ConflictError):
    """The job's present status does not allow the transition."""

    code, title = "job_state", "Job state"


class IdempotencyInProgressError(ConflictError):
    """The first call with this key has not been answered yet."""

    code, title, retryable = "idempotency_in_progress", "Idempotency key in use", True


class IdempotencyKeyReusedError(InvalidRequestError):
    """The key was used for another call."""

    code, title = "idempotency_key_reused", "Idempotency key reused"


class StaleAttemptError(ConflictError):
    """A write from an attempt that no longer owns its job (the fence)."""

    code, title = "stale_attempt", "Stale attempt"


class PayloadTooLargeError(RltError, ValueError):
    """The body is larger than the server takes."""

    code, status, title = "payload_too_large", 413, "Payload too large"


class BodyTimeoutError(RltError, TimeoutError):
    """The body did not come in time."""

    code, status, title, retryable = "body_timeout", 408, "Body timeout", True


class UnsupportedMediaTypeError(RltError, ValueError):
    """A content type that the call does not read."""

    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class OverloadedError(RltError):
    """The server has as much in hand as it takes; try again after `Retry-After`."""

    code, status, title, retryable = "overloaded", 429, "Overloaded", True


class RateLimitedError(RltError):
    """A key has called as often, or has as many calls running, as it may."""

    code, status, title, retryable = "rate_limited", 429, "Rate limited", True


class QuotaExceededError(RltError):
    """A project has used up what it may; the message says of which quota, how much, and when it is free again."""

    code, status, title = "quota_exceeded", 429, "Quota exceeded"


class UnavailableError(RltError):
    """A part of the server is not there at the moment."""

    code, status, title, retryable = "unavailable", 503, "Unavailable", True


class EngineUnavailableError(UnavailableError):
    """The engine is starting, dead or draining."""

    code, title = "engine_unavailable", "Engine unavailable"


class StorageUnavailableError(UnavailableError):
    """The state folder or database cannot be written (full disk, read-only mount)."""

    code, title = "storage_unavailable", "Storage unavailable"


class DeadlineExceededError(RltError, TimeoutError):
    """The request's deadline passed."""

    code, status, title, retryable = "deadline_exceeded", 504, "Deadline exceeded", True


class ScoringError(RltError):
    """The engine gave a missing, surplus or non-finite log-prob: an error, never a score."""

    code, status, title, retryable = "scoring_failed", 500, "Scoring failed", True


class ConfigurationError(RltError, ValueError):
    """Settings or the machine do not allow the server to start; the message says what to change."""

    code, title = "configuration", "Configuration"


class InvalidBackupError(RltError, ValueError):
    """A folder that is no whole backup of this project, or of a newer one; the message says what is wrong with it."""

    code, status, title = "invalid_backup", 422, "Invalid backup"


class InconsistentStateError(RltError):
    """What the database names does not lie whole under the artifact root; the message says what."""

    code, title = "inconsistent_state", "Inconsistent state"
