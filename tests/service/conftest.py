"""One app for the tests of a module; a test that changes what it serves starts its own."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.support.service import running_app

QUESTION = "What is 17 + 25?"


@pytest.fixture(scope="module")
def app_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("home"), max_model_len=2048) as client:
        yield client
