"""One installation of replicas for the tests of this folder."""

from collections.abc import Iterator

import pytest

from benchmarks.topology.site import Site, missing, running_site
from tests.support.postgres import installed


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Lend it when it is ready; skips where nginx is not there (.ci/run unpacks Debian's)."""
    installed()
    if missing():
        pytest.skip(f"no {' and '.join(missing())}: .ci/run unpacks Debian's")
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running
        left = running.end()
    assert left == [], "processes outlived the site"
