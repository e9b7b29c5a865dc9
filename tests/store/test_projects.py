"""Projects as the stores see them, on both databases: what keys of one share, what quotas refuse, what was used."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from rlt_core.errors import (
    ConflictError,
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    QuotaExceededError,
)
from rlt_core.schemas.jobs import QUEUE, WarmupSpec
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_core.schemas.projects import Quotas
from rlt_core.schemas.training import Parallel
from rlt_service.access.secrets import make_secret
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.jobs import JobStore
from rlt_service.store.keys import Key, KeyScope, KeyStore
from rlt_service.store.ownership import VIEWER, Viewer
from rlt_service.store.pipelines import PipelineStore
from rlt_service.store.project_uses import Counted, ProjectUses
from rlt_service.store.projects import ProjectStore
from rlt_service.store.quota_rules import exceeded, month_start
from rlt_service.store.registry import Registry
from rlt_service.store.tables import JobRow
from tests.store.test_owners import seen_by
from tests.store.test_registry import imported

STEP: dict[str, Any] = {"kind": "warmup", "role": "teacher", "dataset": "ds_none", "target_name": "algebra"}
HOUR_S = 3600.0


@pytest.fixture
def projects(database: Database) -> ProjectStore:
    return ProjectStore(database)


@pytest.fixture
def keys(database: Database) -> KeyStore:
    return KeyStore(database)


def key_of(keys: KeyStore, project: str | None, *scopes: KeyScope) -> Key:
    secret = make_secret()
    return keys.create(secret.key_id, name="k", sha256=secret.sha256, scopes=scopes or ("train",), project=project)


@pytest.fixture
def ann(projects: ProjectStore, keys: KeyStore) -> Key:
    """Give a key of a project without quotas."""
    projects.create("algebra", Quotas())
    return key_of(keys, "algebra")


def dataset(datasets: DatasetStore, path: Path, size: int = 10) -> str:
    path.write_bytes(b"x" * size)
    made = datasets.create(name=None, path=path, rows=1, sha256="0" * 64, columns=["question"], size_bytes=size)
    return made.id


def test_keys_of_one_project_share_what_they_make_and_others_do_not_know_of_it(
    ann: Key,
    keys: KeyStore,
    projects: ProjectStore,
    registry: Registry,
    artifacts: ArtifactStore,
    jobs: JobStore,
    datasets: DatasetStore,
    warmup: WarmupSpec,
    tmp_path: Path,
) -> None:
    projects.create("geometry", Quotas())
    amy, bob, lone, ops = (
        key_of(keys, "algebra"), key_of(keys, "geometry"), key_of(keys, None), key_of(keys, "geometry", "admin")
    )  # fmt: skip
    with seen_by(ann.viewer):
        job, version, data = (
            jobs.submit(warmup),
            imported(registry, artifacts, "sums"),
            dataset(datasets, tmp_path / "d"),
        )
    for key in (ann, amy, ops):
        with seen_by(key.viewer):
            assert jobs.get(job.id).id == job.id
            assert datasets.get(data).id == data
            assert registry.get_version(version).job is None
    for key in (bob, lone):
        with seen_by(key.viewer):
            assert (jobs.list().data, datasets.list().data) == ([], [])
            assert registry.name_use("sums") == (True, True)
            for read, named, error in (
                (jobs.get, job.id, NotFoundError),
                (jobs.cancel, job.id, NotFoundError),
                (datasets.get, data, NotFoundError),
                (registry.get_version, version, ModelNotFoundError),
            ):
                with pytest.raises(error):
                    read(named)
    with seen_by(amy.viewer):
        assert registry.name_use("sums") == (True, False)
        assert jobs.cancel(job.id).status == "cancelled"


def test_a_key_without_a_project_owns_what_it_makes_as_ever(keys: KeyStore, jobs: JobStore, warmup: WarmupSpec) -> None:
    lone, other = key_of(keys, None), key_of(keys, None)
    assert (lone.owner, lone.project_id) == (lone.id, None)
    with seen_by(lone.viewer):
        job = jobs.submit(warmup)
    with seen_by(other.viewer), pytest.raises(NotFoundError):
        jobs.get(job.id)


def test_a_key_is_made_for_a_project_that_there_is(keys: KeyStore, projects: ProjectStore) -> None:
    with pytest.raises(NotFoundError, match="rlt projects list"):
        key_of(keys, "algebra")
    assert not keys.exist()
    made = projects.create("algebra", Quotas(jobs_at_once=2))
    assert key_of(keys, "algebra").owner == made.id
    with pytest.raises(ConflictError, match="already"):
        projects.create("algebra", Quotas())
    assert projects.bound("algebra", Quotas(disk_bytes=5)).quotas == Quotas(disk_bytes=5)
    assert [one.name for one in projects.list()] == ["algebra"]


def test_a_trainer_finds_what_its_jobs_submitter_finds_and_makes_it_the_projects(
    ann: Key, keys: KeyStore, projects: ProjectStore, jobs: JobStore, warmup: WarmupSpec
) -> None:
    with seen_by(ann.viewer):
        job = jobs.submit(warmup)
    assert jobs.claim(queue=QUEUE, worker="w1") is not None
    keys.create_for_job("0" * 12, job_id=job.id, attempt=1, sha256="0" * 64)
    found = keys.find("0" * 12)
    assert found is not None
    assert found.viewer == Viewer(key=ann.id, sees_all=False, project=ann.project_id)
    assert (found.owner, found.of_trainer) == (projects.get("algebra").id, True)
    assert keys.viewer_of_job(job.id) == found.viewer


def test_the_trainer_of_an_admin_in_a_project_sees_all(
    ann: Key, keys: KeyStore, jobs: JobStore, warmup: WarmupSpec
) -> None:
    ops = key_of(keys, "algebra", "admin")
    with seen_by(ops.viewer):
        job = jobs.submit(warmup)
    assert keys.viewer_of_job(job.id) == Viewer(key=ops.id, sees_all=True, project=ann.project_id)


def refused(error: pytest.ExceptionInfo[QuotaExceededError]) -> tuple[object, ...]:
    return tuple(error.value.extra[name] for name in ("quota", "limit", "used", "free_at"))


def test_a_job_too_many_is_refused_until_one_ends(
    ann: Key, projects: ProjectStore, jobs: JobStore, warmup: WarmupSpec
) -> None:
    projects.bound("algebra", Quotas(jobs_at_once=2))
    with seen_by(ann.viewer):
        first, _ = jobs.submit(warmup), jobs.submit(warmup)
        with pytest.raises(QuotaExceededError, match=r"2 of its 2 jobs.*when one of them ends") as error:
            jobs.submit(warmup)
        assert refused(error) == ("jobs_at_once", 2, 2, None)
        assert len(jobs.list().data) == 2
        jobs.cancel(first.id)
        jobs.submit(warmup)
    jobs.submit(warmup)  # nobody's
    assert projects.get("algebra").used.jobs_at_once == 2


def test_of_many_that_come_at_once_no_more_are_let_in_than_may_be(
    ann: Key, projects: ProjectStore, jobs: JobStore, warmup: WarmupSpec
) -> None:
    projects.bound("algebra", Quotas(jobs_at_once=3))

    def submit() -> bool:
        with seen_by(ann.viewer):
            try:
                jobs.submit(warmup)
            except QuotaExceededError:
                return False
            return True

    with ThreadPoolExecutor(max_workers=8) as pool:
        came = [pool.submit(copy_context().run, submit) for _ in range(8)]
    assert sum(one.result() for one in came) == 3


def test_a_pipeline_is_one_job_whatever_its_steps(
    ann: Key, projects: ProjectStore, database: Database, warmup: WarmupSpec
) -> None:
    pipelines = PipelineStore(database)
    projects.bound("algebra", Quotas(jobs_at_once=1))
    steps = [{"id": "one", "spec": STEP}, {"id": "two", "spec": STEP}]
    spec = PipelineSpec.model_validate({"kind": "pipeline", "steps": steps})
    with seen_by(ann.viewer):
        made = pipelines.submit(spec, taken_over={})
        with pytest.raises(QuotaExceededError):
            pipelines.submit(spec, taken_over={})
    assert pipelines.settle(made.id) is not None
    begun = [pipelines.begin(made.id, (1, step), warmup) for step in ("one", "two")]
    assert projects.get("algebra").used.jobs_at_once == 1
    for job in begun:
        assert job is not None
        assert KeyStore(database).viewer_of_job(job.id) == ann.viewer
        with seen_by(ann.viewer):
            assert JobStore(database).get(job.id).pipeline is not None


def test_gpu_hours_count_the_most_that_a_live_job_may_run_and_then_what_it_ran(
    ann: Key, projects: ProjectStore, jobs: JobStore, warmup: WarmupSpec, database: Database
) -> None:
    projects.bound("algebra", Quotas(gpu_hours_per_month=4.0))
    two_hours = warmup.model_copy(update={"max_runtime_s": HOUR_S, "parallel": Parallel(processes=2)})
    with seen_by(ann.viewer):
        with pytest.raises(InvalidRequestError, match="max_runtime_s is missing") as missing:
            jobs.submit(warmup)
        assert missing.value.param == "/max_runtime_s"
        first, _ = jobs.submit(two_hours), jobs.submit(two_hours)
        assert projects.get("algebra").used.gpu_hours_per_month == pytest.approx(4.0)
        with pytest.raises(QuotaExceededError, match="asks for 2 more") as error:
            jobs.submit(two_hours)
        quota, limit, used, free_at = refused(error)
        assert (quota, limit, used) == ("gpu_hours_per_month", 4.0, 4.0)
        assert str(free_at).endswith("-01T00:00:00Z")
        jobs.cancel(first.id)  # it never ran: what was set aside for it is free
        with database.transaction() as session:
            session.execute(update(JobRow).where(JobRow.id == first.id).values(runtime_s=HOUR_S / 4))
        assert projects.get("algebra").used.gpu_hours_per_month == pytest.approx(2.5)


def test_jobs_of_another_month_are_not_counted(
    ann: Key, projects: ProjectStore, jobs: JobStore, warmup: WarmupSpec, database: Database
) -> None:
    with seen_by(ann.viewer):
        jobs.submit(warmup.model_copy(update={"max_runtime_s": HOUR_S}))
    assert projects.get("algebra").used.gpu_hours_per_month == pytest.approx(1.0)
    with database.transaction() as session:
        session.execute(update(JobRow).values(created_at=month_start(datetime.now(tz=UTC)) - timedelta(seconds=1)))
    assert projects.get("algebra").used.gpu_hours_per_month == 0.0


def test_a_full_project_keeps_no_more_and_deleting_makes_room(
    ann: Key,
    projects: ProjectStore,
    datasets: DatasetStore,
    jobs: JobStore,
    registry: Registry,
    artifacts: ArtifactStore,
    warmup: WarmupSpec,
    tmp_path: Path,
) -> None:
    projects.bound("algebra", Quotas(disk_bytes=100))
    with seen_by(ann.viewer):
        first = dataset(datasets, tmp_path / "d", size=60)
        with pytest.raises(QuotaExceededError, match=r"60 of its 100 bytes.*asks for 41 more") as error:
            dataset(datasets, tmp_path / "d", size=41)
        assert refused(error) == ("disk_bytes", 100, 60, None)
        projects.bound("algebra", Quotas(disk_bytes=61))
        with pytest.raises(QuotaExceededError, match="bytes"):
            imported(registry, artifacts, "sums")  # an adapter is larger than what is left
        projects.bound("algebra", Quotas(disk_bytes=100))
        assert registry.list_names("teacher").data[0].name == "tiny"
        second = dataset(datasets, tmp_path / "d", size=40)
        with pytest.raises(QuotaExceededError, match="100 of its 100"):
            jobs.submit(warmup)
        datasets.delete(first)
        datasets.delete(second)
        jobs.submit(warmup)
    assert len(list((artifacts.root / "datasets").glob("*"))) == 0


def test_a_version_counts_as_large_as_its_files_are(
    ann: Key, projects: ProjectStore, registry: Registry, artifacts: ArtifactStore
) -> None:
    with seen_by(ann.viewer):
        version = imported(registry, artifacts, "sums")
    name, _, number = version.partition("@")
    files = [path for path in artifacts.version_dir(name, int(number)).rglob("*") if path.is_file()]
    assert projects.get("algebra").used.disk_bytes == sum(path.stat().st_size for path in files) > 0


def test_what_processes_tell_of_a_day_adds_up(projects: ProjectStore, database: Database) -> None:
    uses, project_id = ProjectUses(database), projects.create("algebra", Quotas(tokens_per_day=7)).id
    assert uses.add("prj_none", "2030-01-31", Counted(requests=1)) is None
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda _: uses.add(project_id, "2030-01-31", Counted(requests=1, tokens=5)), range(16)))
    found = uses.add(project_id, "2030-01-31", Counted())
    assert found is not None
    assert (found.told, found.quotas.tokens_per_day) == (Counted(requests=16, tokens=80), 7)
    tomorrow = uses.add(project_id, "2030-02-01", Counted(tokens=1))
    assert tomorrow is not None
    assert tomorrow.told == Counted(tokens=1)


def test_a_refusal_says_when_a_quota_begins_anew() -> None:
    now = datetime(2030, 12, 31, 23, 0, tzinfo=UTC)
    day = exceeded("algebra", "tokens_per_day", limit=10, used=12, now=now)
    assert (day.extra["free_at"], day.retry_after_s) == ("2031-01-01T00:00:00Z", HOUR_S)
    assert "12 of its 10 tokens today (tokens_per_day): it is free again at 2031-01-01" in day.detail
    month = exceeded("algebra", "gpu_hours_per_month", limit=1.5, used=1.25, asked=0.5, now=now.replace(month=2, day=1))
    assert month.extra["free_at"] == "2030-03-01T00:00:00Z"
    assert "1.25 of its 1.5 GPU-hours this month, and the call asks for 0.5 more" in month.detail


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    yield
    assert VIEWER.get() is None
