"""The SDK of RLT: `Client` and its errors. Everything else in this package is private, the `rlt` command apart."""

# The check stands before what an old Python cannot read.
# ruff: noqa: E402

import sys

from rlt_core.python_version import complaint

_refused = complaint(*sys.version_info[:2])
if _refused:
    raise ImportError(_refused)

from rlt_client._client import Client
from rlt_client._errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
    UnprocessableEntityError,
)

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "Client",
    "ConflictError",
    "InternalServerError",
    "NotFoundError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "RateLimitError",
    "ServiceUnavailableError",
    "UnprocessableEntityError",
]
