import inspect

import rlt_client

PUBLIC = [
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


def test_the_public_names_are_exactly_these() -> None:
    assert rlt_client.__all__ == PUBLIC


def test_a_client_has_exactly_these_resources() -> None:
    resources = ["aliases", "datasets", "evaluations", "explain", "jobs", "projects", "score"]
    resources += ["shadows", "solve", "students", "teachers"]
    with rlt_client.Client() as client:
        assert sorted(name for name in vars(client) if not name.startswith("_")) == [*resources, "train"]


def test_every_public_name_is_there() -> None:
    assert all(hasattr(rlt_client, name) for name in PUBLIC)


async def test_both_clients_have_the_same_calls() -> None:
    async with rlt_client.AsyncClient() as there:
        with rlt_client.Client() as here:
            assert names(here) == names(there)
            for name in (
                "aliases",
                "datasets",
                "evaluations",
                "explain",
                "jobs",
                "score",
                "solve",
                "teachers",
                "train",
            ):
                assert names(getattr(here, name)) == names(getattr(there, name)), name


def names(thing: object) -> list[str]:
    return [name for name in dir(thing) if not name.startswith("_")]


def test_a_method_shows_the_signature_and_words_of_its_description() -> None:
    with rlt_client.Client() as client:
        assert list(inspect.signature(client.jobs.get).parameters) == ["job_id"]
        assert inspect.getdoc(client.jobs.get) == "Read a job."
