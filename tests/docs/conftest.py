"""One server on the fake engine for the documentation's examples."""

from collections.abc import Iterator

import pytest

from tests.support.server import running_up


@pytest.fixture(scope="module")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a whole `rlt up` on the fake engine."""
    with running_up(tmp_path_factory.mktemp("docs") / "home") as up:
        yield up.base_url
