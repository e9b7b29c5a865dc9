"""A whole pipeline through workers: the stub trainer under supervisors here, and under one worker as a process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rlt_core.schemas.jobs import QUEUE, TERMINAL, AnySpec, Job, JobResult
from rlt_service.jobs.conductor import Conductor
from rlt_service.store.pipelines import PipelineStore
from tests.core.pipeline_specs import RL, WARMUP, pipeline, step
from tests.jobs.site import Site
from tests.jobs.test_worker import Plant
from tests.support.waiting import wait_until


def accepted(spec: AnySpec, owner: str | None) -> None:
    del spec, owner


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


@pytest.mark.processes
def test_one_worker_runs_all_steps_of_a_pipeline_and_a_killed_trainer_is_none_of_its_concern(
    plant: Plant, tmp_path: Path
) -> None:
    """A worker that held the pipeline itself would wait for its steps for ever."""
    site = plant.site
    plant.start_workers(1)
    job = submit(site, rl="crash-once")
    with conducting(site):
        wait_until(lambda: site.jobs.get(job.id).status in TERMINAL, what="the end of the pipeline", timeout_s=60.0)
    ended = site.jobs.get(job.id)
    assert ended.result is not None
    assert (ended.status, ended.result.teacher) == ("succeeded", "algebra@3")
    assert [site.jobs.get(found.job).attempt for found in ended.result.steps] == [1, 2, 1]
