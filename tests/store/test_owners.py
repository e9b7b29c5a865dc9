"""What belongs to a key as the stores see it, on both databases."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from rlt_core.errors import ForbiddenError, InvalidRequestError, ModelNotFoundError, NotFoundError
from rlt_core.schemas.jobs import RlSpec, WarmupSpec
from rlt_service.control.versions import check_new_name
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.deletion import Deletion
from rlt_service.store.jobs import JobStore
from rlt_service.store.ownership import VIEWER, Viewer
from rlt_service.store.registry import Registry
from tests.store.test_registry import candidate, comparison, imported, publish, running

ANN, BOB = Viewer(key="a" * 12, sees_all=False), Viewer(key="b" * 12, sees_all=False)
OPS = Viewer(key="c" * 12, sees_all=True)


@contextmanager
def seen_by(viewer: Viewer) -> Generator[None]:
    token = VIEWER.set(viewer)
    try:
        yield
    finally:
        VIEWER.reset(token)


def names(registry: Registry, viewer: Viewer) -> list[str]:
    with seen_by(viewer):
        return [card.id for card in registry.callable_models() if "@" in card.id]


def test_a_version_is_known_to_its_maker_and_to_those_that_see_all(
    registry: Registry, artifacts: ArtifactStore
) -> None:
    with seen_by(ANN):
        version = imported(registry, artifacts, "algebra")
        assert registry.resolve("teacher", "algebra").version == version
    assert [names(registry, viewer) for viewer in (ANN, OPS, BOB)] == [[version, "tiny@0"]] * 2 + [["tiny@0"]]
    with seen_by(BOB):
        for named in (version, "algebra", "algebra@0"):
            with pytest.raises(ModelNotFoundError):
                registry.resolve("teacher", named)
        for read in (registry.get_version, registry.lineage):
            with pytest.raises(ModelNotFoundError):
                read(version)
        with pytest.raises(ModelNotFoundError):
            registry.versions("algebra")
        with pytest.raises(ModelNotFoundError):
            registry.move_alias("teacher", "default", version, expected="tiny@0", reason="mine now")
        with pytest.raises(InvalidRequestError, match="another key"):
            check_new_name(registry, "algebra", param="/name")
        assert [found.name for found in registry.list_names("teacher").data] == ["tiny"]
        assert registry.resolve("teacher", "default").version == "tiny@0"


def test_a_version_that_an_alias_served_stays_known_and_its_makers(
    registry: Registry, artifacts: ArtifactStore, database: Database
) -> None:
    with seen_by(ANN):
        version = imported(registry, artifacts, "algebra")
        registry.move_alias("teacher", "default", version, expected="tiny@0", reason="better")
        registry.move_alias("teacher", "default", "tiny@0", expected=version, reason="back")
    with seen_by(BOB):
        assert registry.resolve("teacher", version).version == version
        with pytest.raises(ForbiddenError, match="another key"):
            Deletion(database, artifacts).delete(version)
    with seen_by(OPS):
        assert Deletion(database, artifacts).delete(version) == version


def test_what_a_job_makes_belongs_to_whoever_submitted_it(
    registry: Registry, jobs: JobStore, artifacts: ArtifactStore, rl: RlSpec
) -> None:
    with seen_by(ANN):
        jobs.submit(rl)
    job = running(jobs, rl.model_copy(update={"priority": -1}))  # a worker, in nobody's name
    made = registry.register(candidate(artifacts, job), held_out=comparison(job))
    rollout = publish(registry, artifacts, job, step=1)
    evaluation = registry.evaluation_of_job(job.id)
    assert evaluation is not None
    with seen_by(ANN):
        assert registry.get_version(made.version).job == job.id
        assert registry.get_evaluation(evaluation.id).id == evaluation.id
        assert registry.lineage(made.version).evaluations == [evaluation.id]
        assert registry.resolve("teacher", rollout).version == rollout
    with seen_by(BOB):
        with pytest.raises(NotFoundError):
            registry.get_evaluation(evaluation.id)
        assert registry.latest_evaluation(before=evaluation.before, after=evaluation.after) is None
        for named in (made.version, rollout):
            with pytest.raises(ModelNotFoundError):
                registry.resolve("teacher", named)


def test_jobs_from_before_the_keys_are_found_by_those_that_see_all_alone(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    with seen_by(OPS):
        assert jobs.get(job.id).id == job.id
    with seen_by(ANN):
        assert jobs.list().data == []
        with pytest.raises(NotFoundError):
            jobs.get(job.id)
