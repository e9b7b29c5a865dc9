"""Two server processes on one state folder: what one promotes, the other serves."""

import time
from pathlib import Path

import pytest

from rlt_client import Client
from tests.support.control import write_adapter
from tests.support.server import running_service
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

SEEN_WITHIN_S = 2.0


def test_a_promotion_is_seen_by_the_other_process_within_two_seconds(tmp_path: Path) -> None:
    with (
        running_service(tmp_path) as one,
        running_service(tmp_path) as other,
        Client(one) as here,
        Client(other) as there,
    ):

        def serves(version: str) -> bool:
            return there.explain(question="1 + 1?", solution="2").teacher.version == version

        write_adapter(tmp_path / "artifacts" / "imports" / "algebra")
        made = here.teachers.register("algebra", folder="algebra")
        assert serves("fake@0")
        for version, before in ((made.version, "fake@0"), ("fake@0", made.version)):
            here.aliases.put("teacher", "default", version=version, expected=before)
            moved_s = time.monotonic()
            wait_until(lambda wanted=version: serves(wanted), what=f"the other serves {version}")
            assert time.monotonic() - moved_s < SEEN_WITHIN_S
