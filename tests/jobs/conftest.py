from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.site import Site, make_site


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> Iterator[Site]:
    site = make_site(tmp_path, database_url=database_url)
    yield site
    site.database.close()
