"""The SDK against the real app, in process, on the fake engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import rlt_client
from rlt_client import Client
from rlt_core.schemas.collect import CollectSpec
from rlt_service.app import create_app
from rlt_service.settings import Settings
from tests.support.app_transport import AppTransport
from tests.support.control import write_adapter
from tests.support.waiting import wait_until

ROWS = [{"question": f"What is {a} + 1?", "solution": f"{a + 1}"} for a in range(8)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[Client]:
    settings = Settings(home=home, engine="fake", broker_url="memory://")
    with (
        TestClient(create_app(settings), base_url="http://localhost", raise_server_exceptions=False) as app,
        Client("http://testserver", transport=AppTransport(app)) as made,
    ):
        wait_until(lambda: made.ready().status != "not_ready", what="the app is ready")
        yield made


@pytest.fixture(scope="module")
def adapter(client: Client, home: Path) -> str:
    """Lay an adapter where an operator would."""
    return write_adapter(home / "artifacts" / "imports" / "shady").name


def test_explain_then_score_on_the_tokens_that_came(client: Client) -> None:
    answer = client.explain(question="2 + 3?", solution="5", n=2, include=["tokens"], seed=1)
    assert [explanation.index for explanation in answer.explanations] == [0, 1]
    scored = client.score(
        question="2 + 3?",
        solution="5",
        explanations=[
            {"text": found.text, "tokens": found.tokens, "well_formed": found.well_formed}
            for found in answer.explanations
        ],
        baseline=True,
        include=["tokens", "sequence"],
    )
    assert scored.terms == ["solution", "kl", "format"]
    assert all(score.uplift is not None for score in scored.scores)


def test_batches_answer_in_order_and_raise_for_a_failed_item(client: Client) -> None:
    good = {"question": "2 + 3?", "solution": "5", "max_tokens": 8}
    assert len(client.explain.batch([good, good])) == 2
    with pytest.raises(rlt_client.NotFoundError, match="item 1") as caught:
        client.explain.batch([good, {**good, "teacher": "nobody"}])
    assert (caught.value.index, caught.value.code) == (1, "model_not_found")
    with pytest.raises(rlt_client.NotFoundError):
        client.score.batch([{"question": "q", "solution": "s", "explanations": ["e"], "student": "nobody"}])


def test_an_unknown_field_names_the_nearest_known_one(client: Client) -> None:
    with pytest.raises(rlt_client.UnprocessableEntityError, match="solution") as caught:
        client.explain.create({"question": "q", "answer": "s"})
    assert caught.value.code == "unknown_field"
    assert caught.value.request_id


def test_a_dataset_goes_up_and_comes_back(client: Client) -> None:
    made = client.datasets.create(ROWS, name="sums")
    assert (made.rows, client.datasets.get(made.id).name) == (8, "sums")
    assert [row.solution for row in client.datasets.rows(made.id, offset=6, limit=5).data] == ["7", "8"]
    assert made.id in [found.id for found in client.datasets.list().data]
    assert client.datasets.delete(made.id).deleted
    with pytest.raises(rlt_client.NotFoundError):
        client.datasets.get(made.id)


def test_bad_lines_come_with_their_numbers(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"question": "a", "solution": "b"}\n{"question": 1}\n')
    with pytest.raises(rlt_client.UnprocessableEntityError) as caught:
        client.datasets.create(file)
    assert [line["line"] for line in caught.value.extra["lines"]] == [2]


def test_columns_are_templates_over_the_row(client: Client) -> None:
    made = client.datasets.create([{"question": "2 + 3?", "answer": "5"}], columns={"solution": "It is {answer}."})
    assert client.datasets.rows(made.id).data[0].solution == "It is 5."


def test_a_job_is_queued_listed_paused_and_cancelled(client: Client) -> None:
    dataset = client.datasets.create(ROWS)
    spec = {"kind": "rl", "dataset": dataset.id, "target_name": "algebra", "steps": 1}
    assert client.train(spec, dry_run=True).dataset_rows == 8
    job = client.train(spec)
    assert job.id in [found.id for found in client.jobs.list(status="queued", kind="rl").data]
    assert client.jobs.pause(job.id).status == "paused"
    assert client.jobs.resume(job.id).status == "queued"
    assert client.jobs.cancel(job.id).status == "cancelled"
    assert client.jobs.metrics(job.id).steps == []
    assert client.jobs.checkpoints(job.id).data == []
    assert client.jobs.logs(job.id) == ""


def test_a_submission_and_an_upload_with_a_key_make_one_each(client: Client) -> None:
    datasets = [client.datasets.create(ROWS, idempotency_key="rows") for _ in range(2)]
    assert datasets[0] == datasets[1]
    spec = {"kind": "rl", "dataset": datasets[0].id, "target_name": "keyed", "steps": 1}
    jobs = [client.train(spec, idempotency_key="job") for _ in range(2)]
    assert jobs[0] == jobs[1]


def test_events_of_an_ended_job_come_by_stream_and_by_page_alike(client: Client) -> None:
    dataset = client.datasets.create(ROWS)
    job = client.train({"kind": "rl", "dataset": dataset.id, "target_name": "algebra"})
    client.jobs.cancel(job.id)
    streamed = [event.type for event in client.jobs.events(job.id)]
    seen: list[str] = []
    assert client.jobs.wait(job.id, on_event=lambda event: seen.append(event.type)).status == "cancelled"
    assert streamed == seen
    assert streamed[-1] == "cancelled"


def test_an_unknown_job_is_not_found_also_as_a_stream(client: Client) -> None:
    with pytest.raises(rlt_client.NotFoundError):
        next(client.jobs.events("job_00000000000000000000"))


def test_the_registry_starts_with_the_base_behind_both_aliases(client: Client) -> None:
    aliases = {(alias.role, alias.alias): alias.version for alias in client.aliases.list().data}
    base = aliases["teacher", "default"]
    assert aliases["student", "default"] == base
    assert client.teachers.get(base).number == 0
    assert client.students.lineage(base).parent is None
    assert base in [card.id for card in client.models().data]
    assert client.teachers.versions(client.teachers.list().data[0].name).data


def test_an_alias_moves_only_from_where_it_is_believed_to_be(client: Client) -> None:
    base = client.aliases.list().data[0].version
    made = client.aliases.put("teacher", "trial", version=base, expected=None, reason="a trial")
    assert made.version == base
    with pytest.raises(rlt_client.ConflictError) as caught:
        client.aliases.put("teacher", "trial", version=base, expected="other@9")
    assert caught.value.code == "alias_moved"
    assert [change.reason for change in client.aliases.history("teacher", "trial").data] == ["a trial"]


def test_a_shadow_answers_beside_an_alias_and_becomes_an_evaluation(client: Client, adapter: str) -> None:
    candidate = client.teachers.register("shady", folder=adapter).version
    client.aliases.put("teacher", "lit", version=client.aliases.list().data[0].version, expected=None)
    made = client.shadows.put("lit", version="shady", share=1.0, max_in_flight=8)
    assert (made.version, made.student) == (candidate, "default")
    for row in ROWS[:2]:
        client.explain(question=row["question"], solution=row["solution"], teacher="lit")
    wait_until(lambda: client.shadows.get("lit").pairs == 2, what="both were answered twice")
    assert client.shadows.evaluate("lit").difference.n == 2
    with pytest.raises(rlt_client.ConflictError) as caught:
        client.teachers.delete(candidate)
    assert caught.value.code == "version_in_use"
    assert client.shadows.delete("lit").deleted
    assert client.teachers.delete(candidate).version == candidate
    assert client.teachers.lineage(candidate).deleted_at is not None


def test_a_gate_asks_for_the_judgement_of_the_student_that_was_named(client: Client) -> None:
    base = client.aliases.list().data[0].version
    with pytest.raises(rlt_client.NotFoundError, match="nobody"):
        client.aliases.put("teacher", "default", version=base, expected=base, gate="if_better", student="nobody")


def test_what_the_server_says_of_itself_can_be_read(client: Client) -> None:
    assert client.health().status == "ok"
    assert {"warmup", "rl"} <= set(client.capabilities().job_kinds)
    assert client.formats().data[0].id == "stratos@1"


def test_an_unknown_evaluation_is_not_found(client: Client) -> None:
    with pytest.raises(rlt_client.NotFoundError):
        client.evaluations.get("eval_00000000000000000000")


def test_rows_are_downloaded_into_a_file_that_is_there_once_it_is_whole(client: Client, tmp_path: Path) -> None:
    dataset = client.datasets.create(ROWS)
    path = client.datasets.download(dataset.id, tmp_path / "rows.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert client.datasets.create(path).sha256 == dataset.sha256
    with pytest.raises(rlt_client.NotFoundError):
        client.datasets.download("ds_" + "0" * 20, tmp_path / "none.jsonl")
    with pytest.raises(rlt_client.APIError, match="cannot write"):
        client.datasets.download(dataset.id, tmp_path / "no folder" / "rows.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_collect_is_submitted_and_its_dataset_can_be_named_at_once(client: Client) -> None:
    dataset = client.datasets.create(ROWS)
    spec = CollectSpec(kind="collect", dataset=dataset.id, keep="best", max_tokens=16)
    assert client.train(spec, dry_run=True).dataset_rows == len(ROWS)
    job = client.train(spec)
    assert job.output is not None
    assert client.datasets.get(job.output).complete is False


def test_a_job_that_was_handed_in_is_held_back_and_ended_by_its_own_calls(client: Client) -> None:
    dataset = client.datasets.create(ROWS)
    job = client.train({"kind": "rl", "dataset": dataset.id, "target_name": "algebra", "steps": 1})
    assert job.pause().status == "paused"
    assert job.resume().status == "queued"
    assert len(job.metrics()) == 0
    job.cancel()
    assert job.wait(poll_s=0.05) is job
    assert job.status == "cancelled"
    assert next(client.jobs.iter()).refresh() == client.jobs.list(limit=1).data[0] == job
    with pytest.raises(rlt_client.ConflictError, match="cancelled"):
        job.resume()
