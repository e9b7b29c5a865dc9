"""FakeServer, and both clients before it over a real connection."""

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rlt_client
from rlt_client import AsyncClient, FakeServer
from rlt_client.integrations.trl import StudentReward
from rlt_core.schemas.explain import ExplainDone, Explanation

ASKED: Any = {"question": "2 + 3?", "solution": "5", "seed": 1}
ROWS = [{"question": f"What is {a} + 1?", "solution": f"{a + 1}"} for a in range(250)]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServer]:
    with FakeServer() as made:
        yield made


async def test_an_explanation_is_written_scored_and_streamed(fake: FakeServer) -> None:
    async with fake.async_client() as client:
        answer = await client.explain(**ASKED)
        text = answer.explanations[0].text
        scored = await client.score(question="2 + 3?", solution="5", explanations=[text], baseline=True)
        events = [event async for event in client.explain.stream(**ASKED)]
    assert scored.scores[0].uplift is not None
    assert [event.text for event in events if isinstance(event, Explanation)] == [text]
    assert isinstance(events[-1], ExplainDone)


async def test_many_side_by_side_are_what_each_is_by_itself(fake: FakeServer) -> None:
    items = [{"question": f"{number} + 1?", "solution": "5", "seed": 1} for number in range(6)]
    async with fake.async_client() as client:
        batch = await client.explain.batch(items)
        alone = await asyncio.gather(*(client.explain.create(item) for item in items))
    assert [one.explanations for one in batch] == [one.explanations for one in alone]


async def test_rows_go_up_come_back_and_are_downloaded(fake: FakeServer, tmp_path: Path) -> None:
    async with fake.async_client() as client:
        made = await client.datasets.create(ROWS, name="sums")
        read = [row.question async for row in client.datasets.iter_rows(made.id)]
        file = await client.datasets.download(made.id, tmp_path / "rows.jsonl")
        names = [one.id async for one in client.datasets.iter()]
    assert read == [row["question"] for row in ROWS]
    assert len(file.read_text(encoding="utf-8").splitlines()) == 250
    assert made.id in names


async def test_a_job_is_queued_once_cancelled_and_its_events_end(fake: FakeServer) -> None:
    async with fake.async_client() as client:
        dataset = await client.datasets.create(ROWS[:8], name="few")
        spec = {"kind": "rl", "dataset": dataset.id, "target_name": "algebra", "steps": 1}
        job = await client.train(spec, idempotency_key="one")
        assert (await client.train(spec, idempotency_key="one")).id == job.id
        assert (await client.train(spec, dry_run=True)).train_rows <= 8
        await client.jobs.cancel(job.id)
        ended = await client.jobs.wait(job.id, poll_s=0.05)
        seqs = [event.seq async for event in client.jobs.events(job.id)]
    assert ended.status == "cancelled"
    assert seqs == sorted(set(seqs)) != []


async def test_a_job_s_own_calls_are_those_of_its_id_awaited(fake: FakeServer) -> None:
    async with fake.async_client() as client:
        dataset = await client.datasets.create(ROWS[:8], name="own")
        job = await client.train({"kind": "rl", "dataset": dataset.id, "target_name": "algebra", "steps": 1})
        assert (await job.pause()).status == "paused"
        assert (await job.resume()).status == "queued"
        assert len(await job.metrics()) == 0
        await client.jobs.cancel(job.id)
        assert job.status == "queued"
        assert (await job.refresh()) is job
        assert (job.status, (await job.wait(poll_s=0.05)).status) == ("cancelled", "cancelled")
        assert await client.jobs.get(job.id) == job


def test_what_a_sync_client_writes_is_repeated_under_its_key(fake: FakeServer) -> None:
    with fake.client() as client:
        made = client.datasets.create(ROWS[:2], name="twice", idempotency_key="rows")
        again = client.with_raw_response.datasets.create(ROWS[:2], name="twice", idempotency_key="rows")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.parse().id == made.id


def test_trls_reward_is_the_servers(fake: FakeServer) -> None:
    with fake.client() as client:
        reward = StudentReward(client, measure="uplift")
        found = reward(
            prompts=["p"] * 3,
            completions=["Add.", [{"role": "assistant", "content": "Add."}], "Count."],
            completion_ids=[[1]] * 3,
            trainer_state=None,
            question=["2 + 3?"] * 3,
            solution=["5"] * 3,
        )
        expected = client.score(question="2 + 3?", solution="5", explanations=["Add.", "Count."], baseline=True)
    assert found[0] == found[1] == expected.scores[0].uplift
    assert found[2] == expected.scores[1].uplift


def test_a_closed_fake_server_is_gone_and_names_how_it_is_used() -> None:
    with pytest.raises(rlt_client.APIError, match="with FakeServer"):
        FakeServer().client()


def test_it_keeps_away_from_the_database_and_the_models_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLT_DATABASE_URL", f"sqlite:///{tmp_path}/real.db")
    monkeypatch.setenv("RLT_ROLES", '["teacher"]')
    with FakeServer(home=tmp_path / "home") as made, made.client() as client:
        client.datasets.create(ROWS[:1])
    assert [file.name for file in tmp_path.iterdir()] == ["home"]


def test_a_setting_that_is_none_is_refused() -> None:
    with pytest.raises(rlt_client.APIError, match="no setting 'max_modellen'"):
        FakeServer(max_modellen=99).start()


def test_without_the_server_part_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(rlt_client.APIError, match=r"pip install 'rlt\[serve\]'"):
        FakeServer().start()


async def test_a_client_of_nobody_says_so() -> None:
    async with AsyncClient("http://127.0.0.1:9", max_retries=0) as client:
        with pytest.raises(rlt_client.APIConnectionError, match="rlt up"):
            await client.health()
