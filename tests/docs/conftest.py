"""One server on the fake engine, with a worker, for everything that the documentation shows."""

from collections.abc import Iterator

import pytest

from tests.docs.plant import Plant, running_plant


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Give the server, and what stands for the names of the pages."""
    with running_plant(tmp_path_factory.mktemp("docs")) as running:
        yield running
