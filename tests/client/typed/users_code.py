"""What a user writes, for pyright in its strict mode: `tests/client/test_typed.py` checks it as it stands."""

from typing import assert_type

import httpx

from rlt_client import AsyncClient, AsyncJob, Client, Job, RawResponse
from rlt_client.integrations.trl import StudentReward
from rlt_core.schemas.base import Page
from rlt_core.schemas.explain import ExplainEvent, ExplainResponse
from rlt_core.schemas.jobs import DryRun
from rlt_core.schemas.score import ScoreResponse


def blocking() -> None:
    """Types of a sync client."""
    with Client(timeout=httpx.Timeout(10), max_retries=1) as client:
        answer = client.explain(question="q", solution="s", teacher="algebra@3", n=2)
        assert_type(answer, ExplainResponse)
        assert_type(
            client.score.batch([{"question": "q", "solution": "s", "explanations": ["e"]}]), list[ScoreResponse]
        )
        assert_type(client.jobs.get("job_1"), Job)
        assert_type(client.train({"kind": "rl"}), Job)
        assert_type(client.train({"kind": "rl"}, dry_run=True), DryRun)
        assert_type(client.jobs.wait("job_1", progress=True), Job)
        assert_type(client.with_raw_response.jobs.get("job_1"), RawResponse[Job])
        assert_type(client.jobs.list(), Page[Job])
        for job in client.jobs.iter(status="running"):
            assert_type(job, Job)
            assert_type(job.wait(progress=True), Job)
            assert_type(job.cancel().refresh(), Job)
            job.wait(progres=True)  # pyright: ignore[reportCallIssue] - no such option
        rewards = StudentReward(client)(completions=["e"], question=["q"], solution=["s"])
        assert_type(rewards, list[float | None])
        client.explain(question="q", solution="s", teecher="x")  # pyright: ignore[reportCallIssue] - no such option
        client.jobs.get(1)  # pyright: ignore[reportArgumentType] - an id is a text


async def awaited() -> None:
    """Types of an async client."""
    async with AsyncClient() as client:
        answer = await client.explain(question="q", solution="s")
        assert_type(answer, ExplainResponse)
        assert_type(await client.jobs.wait("job_1"), AsyncJob)
        assert_type(await client.train({"kind": "rl"}, dry_run=True), DryRun)
        assert_type(await client.with_raw_response.jobs.get("job_1"), RawResponse[AsyncJob])
        async for job in client.jobs.iter():
            assert_type(job, AsyncJob)
            assert_type(await job.wait(), AsyncJob)
            assert_type(await (await job.pause()).resume(), AsyncJob)
        async for event in client.explain.stream(question="q", solution="s"):
            assert_type(event, ExplainEvent)
