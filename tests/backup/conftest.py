from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backup.history import Quiet
from tests.jobs.site import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = make_site(tmp_path / "home")
    yield site
    site.database.close()


@pytest.fixture
def progress() -> Quiet:
    return Quiet()
