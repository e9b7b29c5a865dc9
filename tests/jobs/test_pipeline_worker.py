"""A whole pipeline through one real Celery worker as a process, with the stub trainer."""

import pytest

from rlt_core.schemas.jobs import TERMINAL, AnySpec
from rlt_service.jobs.conductor import Conductor
from rlt_service.store.pipelines import PipelineStore
from tests.jobs.test_conductor import submit
from tests.jobs.test_worker import Plant, plant

pytestmark = pytest.mark.processes

__all__ = ["plant"]


def accepted(spec: AnySpec, pipeline_id: str) -> None:
    del spec, pipeline_id


@pytest.mark.parametrize("module_database_url", ["sqlite"], indirect=True)
def test_one_worker_runs_all_steps_though_one_of_them_is_killed(plant: Plant) -> None:
    """A worker that held the pipeline itself would wait for its steps for ever."""
    site, jobs = plant.site, plant.site.jobs
    job = submit(site, rl="crash-once")
    conductor = Conductor(PipelineStore(site.database), check=accepted, on_begun=lambda: None, period_s=0.1)
    conductor.start()
    try:
        plant.wait_for(lambda: jobs.get(job.id).status in TERMINAL, what="the end of the pipeline")
    finally:
        conductor.stop()
    ended = jobs.get(job.id)
    assert ended.result is not None
    assert (ended.status, ended.result.teacher) == ("succeeded", "algebra@3")
    assert [jobs.get(found.job).attempt for found in ended.result.steps] == [1, 2, 1]
