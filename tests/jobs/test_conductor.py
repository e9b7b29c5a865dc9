"""A whole pipeline through workers, one step after the other: the stub trainer under a supervisor."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rlt_core.errors import VersionInUseError
from rlt_core.schemas.jobs import QUEUE, AnySpec, Job, JobResult
from rlt_service.jobs.conductor import Conductor
from rlt_service.store.deletion import Deletion
from rlt_service.store.pipelines import PipelineStore
from tests.core.pipeline_specs import RL, WARMUP, pipeline, step
from tests.jobs.site import Site
from tests.support.waiting import wait_until


def accepted(spec: AnySpec, pipeline_id: str) -> None:
    del spec, pipeline_id


def submit(site: Site, **behaviour: str) -> Job:
    """Hand in warm-up -> rl -> rl; `behaviour` of the stub trainer by step."""
    steps = [
        step("warmup", WARMUP, dataset=site.dataset, name=behaviour.get("warmup", "ok")),
        step("rl", RL, dataset=site.dataset, teacher="$warmup.teacher", name=behaviour.get("rl", "ok")),
        step("more", RL, dataset=site.dataset, teacher="$rl.teacher", name=behaviour.get("more", "ok")),
    ]
    return PipelineStore(site.database).submit(pipeline(steps), taken_over={})


@contextmanager
def conducting(site: Site) -> Iterator[Conductor]:
    conductor = Conductor(PipelineStore(site.database), check=accepted, on_begun=lambda: None, period_s=0.1)
    conductor.start()
    yield conductor
    conductor.stop()


def test_each_step_trains_on_from_the_version_that_the_one_before_made(site: Site) -> None:
    job = submit(site)
    conductor = Conductor(PipelineStore(site.database), check=accepted, on_begun=lambda: None, period_s=60.0)
    for _ in range(3):
        conductor.round()
        assert site.run_one().status == "succeeded"
    conductor.round()
    ended = site.jobs.get(job.id)
    assert ended.result is not None
    assert (ended.status, ended.result.teacher) == ("succeeded", "algebra@3")
    assert [site.registry.get_version(f"algebra@{number}").parent for number in (2, 3)] == ["algebra@1", "algebra@2"]
    assert ended.result.cost["total_s"] == pytest.approx(0.3)


def test_the_thread_moves_a_pipeline_on_until_it_is_stopped(site: Site) -> None:
    job = submit(site)
    with conducting(site) as conductor:
        conductor.wake()
        wait_until(lambda: len(site.jobs.list(pipeline=job.id).data) == 1, what="the first step")
        claimed = site.jobs.claim(queue=QUEUE, worker="w")
        assert claimed is not None
        site.jobs.finish(claimed.job.id, claimed.attempt, "succeeded", result=JobResult(teacher="algebra@1"))
        wait_until(lambda: len(site.jobs.list(pipeline=job.id).data) == 2, what="the second step")
    claimed = site.jobs.claim(queue=QUEUE, worker="w")
    assert claimed is not None
    site.jobs.finish(claimed.job.id, claimed.attempt, "succeeded", result=JobResult(teacher="algebra@2"))
    time.sleep(0.3)
    assert len(site.jobs.list(pipeline=job.id).data) == 2


def test_a_version_that_a_step_made_stays_until_the_pipeline_has_ended(site: Site) -> None:
    job = submit(site)
    conductor = Conductor(PipelineStore(site.database), check=accepted, on_begun=lambda: None, period_s=60.0)
    conductor.round()
    site.run_one()
    deletion = Deletion(site.database, site.artifacts)
    with pytest.raises(VersionInUseError, match=f"{job.id}, a pipeline whose step made it, is running"):
        deletion.delete("algebra@1")
    site.jobs.cancel(job.id)
    conductor.round()
    assert deletion.delete("algebra@1") == "algebra@1"
