import rlt_client

PUBLIC = [
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


def test_the_public_names_are_exactly_these() -> None:
    assert rlt_client.__all__ == PUBLIC


def test_every_public_name_is_there() -> None:
    assert all(hasattr(rlt_client, name) for name in PUBLIC)
