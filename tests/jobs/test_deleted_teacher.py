"""A version that a waiting job names stays; where it went all the same, the job says so and ends."""

import pytest
from sqlalchemy import update

from rlt_core.errors import VersionInUseError
from rlt_core.schemas.base import now_utc
from rlt_service.store.deletion import Deletion
from rlt_service.store.tables import VersionRow
from tests.backup.history import register
from tests.jobs.site import Site


def test_a_job_whose_teacher_was_deleted_after_all_is_invalid_and_says_so(site: Site) -> None:
    version = register(site, "algebra")
    job = site.submit_rl("ok", teacher=version)
    deletion = Deletion(site.database, site.artifacts)
    with pytest.raises(VersionInUseError, match=job.id):
        deletion.delete(version)
    with site.database.transaction() as session:  # as where it went between the check and the submission
        session.execute(update(VersionRow).where(VersionRow.number == 1).values(deleted_at=now_utc()))
    ended = site.run_one()
    assert ended.error is not None
    assert (ended.status, ended.error.code, ended.error.retryable) == ("failed", "invalid", False)
    assert f"{version} was deleted at" in ended.error.message
