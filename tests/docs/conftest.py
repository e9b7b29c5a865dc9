"""One server on the fake engine for the documentation's examples; none of them needs a worker."""

from collections.abc import Iterator

import pytest

from tests.support.server import running_service


@pytest.fixture(scope="module")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of the server."""
    with running_service(tmp_path_factory.mktemp("docs")) as address:
        yield address
