"""Keys as they are stored, on both databases: found while they hold, owned by whom, and what a rotation keeps."""

import pytest

from rlt_core.errors import NotFoundError, StaleAttemptError
from rlt_core.schemas.jobs import QUEUE, WarmupSpec
from rlt_service.access.secrets import make_secret
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore
from rlt_service.store.keys import JOB_SCOPES, Key, KeyScope, KeyStore
from rlt_service.store.ownership import VIEWER, Viewer


@pytest.fixture
def keys(database: Database) -> KeyStore:
    return KeyStore(database)


def made(keys: KeyStore, *scopes: KeyScope) -> Key:
    secret = make_secret()
    return keys.create(secret.key_id, name="ann", sha256=secret.sha256, scopes=scopes, max_per_minute=3, max_at_once=2)


def test_a_key_is_found_as_it_was_made_and_a_revoked_one_is_not(keys: KeyStore) -> None:
    assert not keys.exist()
    key = made(keys, "explain", "score")
    assert keys.exist()
    assert keys.find(key.id) == key
    assert (key.scopes, key.owner, key.sees_all) == (("explain", "score"), key.id, False)
    assert (key.max_per_minute, key.max_at_once) == (3, 2)
    revoked = keys.revoke(key.id)
    assert keys.revoke(key.id).revoked_at == revoked.revoked_at
    assert keys.find(key.id) is None
    assert keys.exist()
    assert [found.id for found in keys.list()] == [key.id]


def test_a_rotated_key_keeps_its_id_and_all_that_it_may(keys: KeyStore) -> None:
    key = made(keys, "train")
    other = make_secret(key.id)
    rotated = keys.rotate(key.id, sha256=other.sha256)
    assert other.is_of(rotated.sha256)
    assert not other.is_of(key.sha256)
    assert (rotated.id, rotated.scopes, rotated.created_at) == (key.id, key.scopes, key.created_at)
    keys.revoke(key.id)
    with pytest.raises(NotFoundError, match="revoked"):
        keys.rotate(key.id, sha256=other.sha256)


def test_a_key_that_nobody_made_is_said_to_be_unknown(keys: KeyStore) -> None:
    assert keys.find("0" * 12) is None
    with pytest.raises(NotFoundError, match="rlt keys list"):
        keys.revoke("0" * 12)


def test_an_attempts_key_works_for_the_jobs_owner_until_the_attempt_ends(
    keys: KeyStore, jobs: JobStore, warmup: WarmupSpec
) -> None:
    owner = made(keys, "train")
    token = VIEWER.set(Viewer(key=owner.id, sees_all=False))
    job = jobs.submit(warmup)
    VIEWER.reset(token)
    assert jobs.claim(queue=QUEUE, worker="w1") is not None
    secret = make_secret()
    keys.create_for_job(secret.key_id, job_id=job.id, attempt=1, sha256=secret.sha256)
    found = keys.find(secret.key_id)
    assert found is not None
    assert (found.owner, found.sees_all, tuple(found.scopes)) == (owner.id, False, JOB_SCOPES)
    assert [key.id for key in keys.list()] == [owner.id]
    with pytest.raises(StaleAttemptError):
        keys.create_for_job("0" * 12, job_id=job.id, attempt=2, sha256=secret.sha256)
    keys.end_for_job(job.id, attempt=2)
    assert keys.find(secret.key_id) is not None
    jobs.requeue(job.id, 1, "the worker was asked to end", crash=False)
    assert keys.find(secret.key_id) is None
    assert jobs.claim(queue=QUEUE, worker="w2") is not None
    assert keys.find(secret.key_id) is None


def test_the_key_of_an_admins_job_sees_all(keys: KeyStore, jobs: JobStore, warmup: WarmupSpec) -> None:
    owner = made(keys, "admin")
    token = VIEWER.set(Viewer(key=owner.id, sees_all=True))
    job = jobs.submit(warmup)
    VIEWER.reset(token)
    assert jobs.claim(queue=QUEUE, worker="w1") is not None
    keys.create_for_job("0" * 12, job_id=job.id, attempt=1, sha256="0" * 64)
    found = keys.find("0" * 12)
    assert found is not None
    assert (found.owner, found.sees_all) == (owner.id, True)
    keys.end_for_job(job.id, attempt=1)
    assert keys.find("0" * 12) is None


def test_a_key_of_a_job_from_before_the_keys_finds_what_has_no_owner(
    keys: KeyStore, jobs: JobStore, warmup: WarmupSpec
) -> None:
    job = jobs.submit(warmup)
    assert jobs.claim(queue=QUEUE, worker="w1") is not None
    secret = make_secret()
    keys.create_for_job(secret.key_id, job_id=job.id, attempt=1, sha256=secret.sha256)
    assert not keys.exist()
    found = keys.find(secret.key_id)
    assert found is not None
    assert (found.owner, found.sees_all) == (None, True)


def test_a_job_has_one_key_at_a_time_and_people_cannot_name_it(
    keys: KeyStore, jobs: JobStore, warmup: WarmupSpec
) -> None:
    job = jobs.submit(warmup)
    assert jobs.claim(queue=QUEUE, worker="w1") is not None
    first, second = make_secret(), make_secret()
    for secret in (first, second):
        keys.create_for_job(secret.key_id, job_id=job.id, attempt=1, sha256=secret.sha256)
    assert keys.find(first.key_id) is None
    assert keys.find(second.key_id) is not None
    with pytest.raises(NotFoundError):
        keys.revoke(second.key_id)
