"""The SDK of RLT: clients, errors, a server for tests. Modules with an underscore are private."""

# The check stands before what an old Python cannot read.
# ruff: noqa: E402

import sys

from rlt_core.python_version import complaint

_refused = complaint(*sys.version_info[:2])
if _refused:
    raise ImportError(_refused)

from rlt_client._async_client import AsyncClient
from rlt_client._client import Client
from rlt_client._connection import Timeout
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
from rlt_client._fake_server import FakeServer
from rlt_client._raw import RawResponse
from rlt_client._resources.job import AsyncJob, Job

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncClient",
    "AsyncJob",
    "AuthenticationError",
    "BadRequestError",
    "Client",
    "ConflictError",
    "FakeServer",
    "InternalServerError",
    "Job",
    "NotFoundError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "RateLimitError",
    "RawResponse",
    "ServiceUnavailableError",
    "Timeout",
    "UnprocessableEntityError",
]
