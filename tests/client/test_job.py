"""The job that a client gives: its own calls, and what it is without its client."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import rlt_client
from rlt_client import Client
from rlt_core.schemas.jobs import Job
from tests.client.conftest import Asking, Canned

Bodies = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("act", "asked"), [("refresh", "GET "), *((a, "POST /" + a) for a in ("cancel", "pause", "resume"))]
)
def test_an_act_asks_by_the_job_s_id_and_brings_it_up_to_date(
    asking: Asking, make_job: Bodies, act: str, asked: str
) -> None:
    async def awaited(client: Any) -> Any:
        job = await client.jobs.get("job_1")
        return job, await getattr(job, act)()

    def at_once(client: Any) -> Any:
        job = client.jobs.get("job_1")
        return job, getattr(job, act)()

    asking.server.says(*(httpx.Response(200, json=make_job(status)) for status in ("queued", "running")))
    job, given = asking.ask(awaited if asking.kind == "async" else at_once)
    assert given is job
    assert job.status == "running"
    method, _, path = asked.partition(" ")
    last = asking.server.requests[-1]
    assert (last.method, last.url.path) == (method, f"/v1/jobs/job_1{path}")


def test_waiting_for_a_job_takes_what_waiting_by_id_takes(
    client: Client, server: Canned, pauses: list[float], make_job: Bodies
) -> None:
    server.says(*(httpx.Response(200, json=make_job(status)) for status in ("queued", "running", "failed")))
    job = client.jobs.get("job_1")
    assert job.wait(poll_s=2).status == "failed"
    assert (job.status, pauses) == ("failed", [2])
    server.says(*[httpx.Response(200, json=make_job("running"))])
    with pytest.raises(rlt_client.APITimeoutError, match="still running"):
        job.wait(timeout_s=-1)


def test_metrics_of_a_job_are_a_frame_where_pandas_is_there(client: Client, server: Canned, make_job: Bodies) -> None:
    pandas = pytest.importorskip("pandas")
    series = {"job": "job_1", "steps": [1, 2], "series": {"reward": [-0.5, None]}}
    server.says(httpx.Response(200, json=make_job()), httpx.Response(200, json=series))
    frame = client.jobs.get("job_1").metrics(after_step=0, max_points=9)
    assert isinstance(frame, pandas.DataFrame)
    assert dict(server.requests[-1].url.params) == {"after_step": "0", "max_points": "9"}


def test_jobs_of_lists_and_raw_answers_have_their_calls_too(client: Client, server: Canned, make_job: Bodies) -> None:
    page, ended = {"data": [make_job()]}, make_job("cancelled")
    server.says(httpx.Response(200, json=page), httpx.Response(200, json=ended))
    server.says(httpx.Response(202, json=make_job()), httpx.Response(200, json=ended))
    assert client.jobs.list().data[0].cancel().status == "cancelled"
    assert client.with_raw_response.train.create({}).parse().cancel().status == "cancelled"


def test_a_job_is_printed_and_dumped_as_the_server_told_it(client: Client, server: Canned, make_job: Bodies) -> None:
    plain = Job.model_validate(make_job())
    server.says(httpx.Response(200, json=make_job()))
    job = client.jobs.get("job_1")
    assert repr(job) == repr(plain)
    assert job.model_dump(mode="json", exclude_unset=True) == plain.model_dump(mode="json", exclude_unset=True)
    assert "rlt.test" not in repr(job) + str(job.__getstate__())


def test_a_pickled_job_leaves_its_client_behind_and_says_so(client: Client, server: Canned, make_job: Bodies) -> None:
    server.says(httpx.Response(200, json=make_job()), httpx.Response(200, json=make_job("running")))
    job = client.jobs.get("job_1")
    carried = pickle.loads(pickle.dumps(job))
    assert carried == job
    with pytest.raises(rlt_client.APIError, match=r"client\.jobs\.get\('job_1'\)"):
        carried.refresh()
    assert len(server.requests) == 1
    twin = copy.deepcopy(job)
    assert (twin.refresh().status, job.status) == ("running", "queued")
