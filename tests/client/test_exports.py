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


def test_a_client_has_exactly_these_resources() -> None:
    resources = ["aliases", "datasets", "evaluations", "explain", "jobs", "score"]
    resources += ["shadows", "solve", "students", "teachers"]
    with rlt_client.Client() as client:
        assert sorted(name for name in vars(client) if not name.startswith("_")) == [*resources, "train"]


def test_every_public_name_is_there() -> None:
    assert all(hasattr(rlt_client, name) for name in PUBLIC)
