"""Two real servers of one installation, over real connections: one dies, and its callers notice nothing."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rlt_client import Client, FakeServer

QUESTIONS = [f"{number} + 1?" for number in range(24)]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[FakeServer]]:
    with FakeServer(home=tmp_path) as one, FakeServer(home=tmp_path) as two:
        yield [one, two]


def explained(server: FakeServer) -> int:
    """Tell how many calls of /explain a server has answered, by its own figures."""
    lines = httpx.get(f"{server.base_url}/metrics").text.splitlines()
    counted = [line for line in lines if line.startswith("rlt_http_requests_total") and "explain" in line]
    return int(sum(float(line.rpartition(" ")[2]) for line in counted))


def test_one_of_two_servers_dies_and_no_call_fails(servers: list[FakeServer]) -> None:
    one, two = servers
    with Client([one.base_url, two.base_url], max_retries=0) as client:
        texts = [_explained(client, question) for question in QUESTIONS]
        each = [explained(server) for server in servers]
        assert sum(each) == len(QUESTIONS)
        assert min(each) > 0
        dataset = client.datasets.create([{"question": question, "solution": "s"} for question in QUESTIONS])
        job = client.train({"kind": "rl", "dataset": dataset.id, "target_name": "algebra", "steps": 1})
        one.stop()
        again = [_explained(client, question) for question in QUESTIONS]
        assert again == texts, "of the same question every server of an installation makes the same"
        assert [row.question for row in client.datasets.iter_rows(dataset.id)] == QUESTIONS
        assert client.jobs.cancel(job.id).id == job.id
        assert len(client.score.batch(_scores())) == len(QUESTIONS)
        client.train({"kind": "rl", "dataset": dataset.id, "target_name": "algebra", "steps": 1})


def _explained(client: Client, question: str) -> str:
    return client.explain(question=question, solution="s", seed=1).explanations[0].text


def _scores() -> list[dict[str, object]]:
    return [{"question": question, "solution": "s", "explanations": ["e"]} for question in QUESTIONS]
