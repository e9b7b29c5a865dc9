"""A full disk or one that cannot be written: uploads and jobs are refused with 503, and nothing half of them stays."""

import contextlib
import errno
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from rlt_core.errors import StorageUnavailableError
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import JOB_SPEC
from rlt_service.control.submission import Submission
from rlt_service.store.database import Database
from tests.support.control import JSONL, Control, check_problem, control_app

CONNECTIONS = 8
"""What the database's pool keeps."""
FULL = "PRAGMA max_page_count = 1"  # SQLite takes the present size for it, and answers as on a full disk
READ_ONLY = "PRAGMA query_only = ON"


@pytest.fixture
def control(tmp_path: Path) -> Generator[Control]:
    # No reconciler in between: it would hold one of the connections.
    with control_app(tmp_path, reconcile_s=600.0) as made:
        yield made


def spoil(database: Database, pragma: str) -> None:
    """Set a pragma on every connection that the pool keeps."""
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(database.reading()) for _ in range(CONNECTIONS)]
        for session in sessions:
            session.execute(text(pragma))


def until_refused(control: Control, path: str, **request: Any) -> int:
    """Send the same until it is refused for want of storage; gives how often it was taken."""
    for taken in range(200):
        answer = control.http.post(path, **request)
        if not answer.is_success:
            assert "RLT_HOME" in check_problem(answer, 503, "storage_unavailable")["detail"]
            assert int(answer.headers["Retry-After"]) >= 1
            return taken
    raise AssertionError("never refused")


@pytest.mark.parametrize("pragma", [FULL, READ_ONLY])
def test_a_job_is_accepted_only_if_it_is_stored(control: Control, pragma: str) -> None:
    spec = {"kind": "rl", "dataset": control.upload(), "target_name": "algebra", "name": "n" * 200}
    spoil(control.services.database, pragma)
    taken = until_refused(control, "/v1/train", json=spec)
    assert len(control.http.get("/v1/jobs?limit=100").json()["data"]) == taken
    assert (taken == 0) == (pragma == READ_ONLY)


@pytest.mark.parametrize("pragma", [FULL, READ_ONLY])
def test_a_dataset_is_stored_with_its_row_or_not_at_all(control: Control, pragma: str) -> None:
    control.upload()
    spoil(control.services.database, pragma)
    body = '{"question": "1 + 1?", "solution": "2", "' + "c" * 500 + '": 1}'
    taken = 1 + until_refused(control, "/v1/datasets?name=" + "n" * 200, content=body, headers=JSONL)
    assert len(control.http.get("/v1/datasets?limit=100").json()["data"]) == taken
    root = control.services.artifacts.root
    assert len(list((root / "datasets").iterdir())) == taken
    assert list((root / "incoming").iterdir()) == []


def test_a_dataset_is_refused_where_its_file_cannot_be_written(tmp_path: Path) -> None:
    with control_app(tmp_path) as control:
        # In /sys nobody can make a folder, root included.
        (tmp_path / "artifacts").symlink_to("/sys")
        answer = control.http.post("/v1/datasets", content='{"question": "q", "solution": "s"}', headers=JSONL)
        assert "RLT_HOME" in check_problem(answer, 503, "storage_unavailable")["detail"]
        assert control.http.get("/v1/datasets").json()["data"] == []


def test_a_server_that_cannot_write_says_that_it_is_not_ready(control: Control) -> None:
    spoil(control.services.database, READ_ONLY)
    answer = control.http.get("/readyz")
    assert answer.status_code == 503
    assert not answer.json()["checks"]["database"]["ok"]


def test_a_server_whose_artifacts_cannot_be_written_says_that_it_is_not_ready_and_why(
    control: Control, tmp_path: Path
) -> None:
    assert control.http.get("/readyz").json()["checks"]["artifacts"]["ok"]
    (tmp_path / "artifacts").symlink_to("/sys")  # has no room, for nobody
    answer = control.http.get("/readyz")
    assert answer.status_code == 503
    assert "Free some space" in answer.json()["checks"]["artifacts"]["detail"]
    assert answer.json()["checks"]["database"]["ok"]
    assert control.http.get("/v1/aliases").status_code == 200


class RowsOfABrokenDisk(Sequence[DatasetRow]):
    """A large file, opened and counted while the disk was well: rows are read when they are looked at."""

    def __len__(self) -> int:  # noqa: D105 - as any sequence's
        return 4

    def __getitem__(self, index: Any) -> Any:  # noqa: D105 - as any sequence's
        raise OSError(errno.EIO, "Input/output error")


class BrokenLater(Submission):
    def _rows(self, dataset_id: str, *, param: str) -> Sequence[DatasetRow]:
        return RowsOfABrokenDisk()


@pytest.mark.parametrize("kind", ["warmup", "rl", "rlvr", "distill"])
def test_a_disk_that_breaks_after_a_large_dataset_was_opened_is_a_503(control: Control, kind: str) -> None:
    host = control.services.host
    assert host is not None
    made = control.services
    submission = BrokenLater(
        settings=made.settings,
        jobs=made.jobs,
        datasets=made.datasets,
        registry=made.registry,
        artifacts=made.artifacts,
        engine=host.ready(),
    )
    more = {"rlvr": {"verdict": "exact"}, "warmup": {"role": "student"}}
    spec = JOB_SPEC.validate_python(
        {"kind": kind, "dataset": "ds_" + "0" * 20, "target_name": "made", **more.get(kind, {})}
    )
    with pytest.raises(StorageUnavailableError, match="read the rows of dataset"):
        submission.submit(spec)
