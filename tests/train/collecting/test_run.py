"""A collect against the real app on the fake engine: what it asks, what it writes, what ends it, what goes on."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlt_client import Client
from rlt_core.collected import FOLDER, read_all, read_index
from rlt_core.errors import (
    ConfigurationError,
    ForbiddenError,
    ModelNotFoundError,
    PromptTooLongError,
    RltError,
    ScoringError,
)
from rlt_core.schemas.collect import PROVENANCE, Provenance
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_core.schemas.solve import SolveRequest, SolveResponse
from rlt_core.schemas.trainer import TRAINER_EVENT, CollectedEvent, ProgressEvent, TrainerEvent, TrainerJob
from rlt_core.schemas.training import Splits
from rlt_core.splits import split_rows
from rlt_train.collecting.run import run_collect
from rlt_train.errors import InvalidTrainingDataError, RolloutMismatchError, RolloutsDroppedError, StopRequested
from rlt_train.events import EventWriter
from rlt_train.lifeline import StopFlag
from rlt_train.service_context import ServiceContext
from rlt_train.services import HttpServices, Services
from tests.support.app_transport import AppTransport
from tests.support.control import Control, control_app
from tests.train.collecting.parts import JOB, row, spec

ROWS = [row(number) for number in range(20)]  # shards of 8, 8 and 4


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=512) as made:
        yield made


@pytest.fixture
def services(control: Control) -> Iterator[HttpServices]:
    with Client("http://localhost", transport=AppTransport(control.http)) as client:
        yield HttpServices(client, job_id=JOB, attempt=1)


@dataclass
class Watched:
    """Services that note which questions they are asked to explain, and may refuse one of them."""

    inner: Services
    refuse: Callable[[str, int], RltError | StopRequested | None] = lambda question, asked: None
    asked: list[str] = field(default_factory=list[str])
    lock: threading.Lock = field(default_factory=threading.Lock)
    calls_at_once: int = 1

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        with self.lock:
            self.asked += [request.question for request in requests]
            error = self.refuse(requests[0].question, len(self.asked))
        if error is not None:
            raise error
        return self.inner.explain(requests)

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        raise NotImplementedError

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        return self.inner.score(requests)

    def publish(self, *, step: int, sha256: str) -> str:
        raise AssertionError("a collect publishes nothing")


def context(
    root: Path,
    control: Control,
    services: Services,
    *,
    rows: Sequence[DatasetRow] = ROWS,
    attempt: int = 1,
    **options: Any,
) -> ServiceContext:
    folder, base = root / f"attempt-{attempt}", control.services.registry.base()
    folder.mkdir()
    dataset = root / "rows.jsonl"
    dataset.write_text("".join(each.model_dump_json(exclude_none=True) + "\n" for each in rows))
    job = TrainerJob(
        job_id=JOB,
        attempt=attempt,
        kind="collect",
        spec=spec(**{"samples_per_question": 2, "max_tokens": 24, **options}),
        base_model=base.base_model,
        base_model_dir="/nowhere",
        dataset_path=str(dataset),
        attempt_dir=str(folder),
        events_path=str(folder / "events.jsonl"),
        journal_dirs=[str(root / f"attempt-{each}" / "journal") for each in range(attempt - 1, 0, -1)],
        teacher_version=base.version,
        student_version=control.services.registry.base("student").version,
        base_url="http://localhost",
        format_id=base.format,
    )
    return ServiceContext(job=job, events=EventWriter(Path(job.events_path)), stop=StopFlag(), connect=lambda: services)


def test_held_out_questions_are_never_asked_and_a_later_attempt_holds_the_same_out(
    tmp_path: Path, control: Control, services: HttpServices
) -> None:
    splits = {"report": 0.25, "gate": 0.1}
    kept = split_rows(ROWS, splits=Splits.model_validate(splits), seed=3).train
    watched = Watched(services, refuse=lambda _, asked: StopRequested() if asked == 10 else None)
    with pytest.raises(StopRequested):
        run_collect(context(tmp_path, control, watched, splits=splits, seed=3, questions_at_once=1))
    again = Watched(services)
    found = run_collect(context(tmp_path, control, again, attempt=2, splits=splits, seed=3, questions_at_once=1))
    assert found.counts["questions"] == len(kept) == 13
    assert [each.id for each in rows_of(tmp_path, 2)] == [f"{each.id}#{index}" for each in kept for index in (0, 1)]
    asked = {*watched.asked, *again.asked}
    assert asked == {each.question for each in kept}
    assert len(again.asked) < len(kept)


def test_questions_of_another_dataset_are_held_out_where_it_is_named(
    tmp_path: Path, control: Control, services: HttpServices
) -> None:
    held_out = tmp_path / "held-out.jsonl"
    held_out.write_text("".join(each.model_dump_json(exclude_none=True) + "\n" for each in ROWS[:5]))
    made = context(tmp_path, control, services, splits={"report": "ds_1"})
    job = made.job.model_copy(update={"split_paths": {"report": str(held_out)}})
    assert run_collect(replace(made, job=job)).counts["questions"] == 15


def rows_of(root: Path, attempt: int) -> list[DatasetRow]:
    folder = root / f"attempt-{attempt}" / FOLDER
    lines = b"".join(read_all(folder, read_index(folder))).splitlines()
    return [DatasetRow.model_validate_json(line) for line in lines]


def events_of(root: Path, attempt: int) -> list[TrainerEvent]:
    lines = (root / f"attempt-{attempt}" / "events.jsonl").read_text().splitlines()
    return [TRAINER_EVENT.validate_json(line) for line in lines]


def test_every_question_is_explained_in_the_datasets_order_and_each_row_can_be_had_again(
    tmp_path: Path, control: Control, services: HttpServices
) -> None:
    found = run_collect(context(tmp_path, control, services, seed=3, questions_at_once=5))
    rows = rows_of(tmp_path, 1)
    assert [each.id for each in rows] == [f"r{number}#{index}" for number in range(20) for index in (0, 1)]
    assert (found.rows, found.counts["questions"], found.counts["explanations"]) == (40, 20, 40)
    told = Provenance.model_validate(rows[13].metadata[PROVENANCE])
    assert len({Provenance.model_validate(each.metadata[PROVENANCE]).seed for each in rows}) == 20
    again = control.http.post(
        "/v1/explain",
        json={
            "question": rows[13].question,
            "solution": rows[13].solution,
            "teacher": told.teacher,
            "n": told.n,
            "temperature": told.temperature,
            "max_tokens": told.max_tokens,
            "seed": told.seed,
            "include": ["tokens"],
        },
    ).json()["explanations"][told.sample]
    assert (again["text"], again["well_formed"]) == (rows[13].reasoning_trace, told.well_formed)
    judged = control.http.post(
        "/v1/score",
        json={
            "question": rows[13].question,
            "solution": rows[13].solution,
            "explanations": [{name: again[name] for name in ("text", "tokens", "well_formed")}],
            "student": told.student,
            "baseline": True,
            "include": ["sequence"],
        },
    ).json()["scores"][0]
    assert told.reward == pytest.approx(judged["reward"])
    assert told.uplift == pytest.approx(judged["uplift"])
    assert told.student_tokens == len(judged["sequence"]["token_ids"])


def test_cost_and_progress_are_told(tmp_path: Path, control: Control, services: HttpServices) -> None:
    found = run_collect(context(tmp_path, control, services))
    rows = [Provenance.model_validate(each.metadata[PROVENANCE]) for each in rows_of(tmp_path, 1)]
    assert found.cost["generated_tokens"] == sum(each.completion_tokens for each in rows)
    assert found.cost["scored_tokens"] > sum(each.student_tokens for each in rows)  # and the baselines
    assert found.cost["prompt_tokens"] > 0
    last = [event for event in events_of(tmp_path, 1) if isinstance(event, ProgressEvent)][-1]
    assert (last.step, last.total, last.eta_s) == (20, 20, 0.0)
    assert last.metrics["questions_per_s"] > 0.0
    assert last.metrics["reward"] == pytest.approx(sum(each.reward for each in rows) / 40)


@pytest.mark.parametrize("stopped_at", [3, 12])
def test_an_attempt_that_was_ended_is_gone_on_from_and_no_question_is_asked_twice(
    tmp_path: Path, control: Control, services: HttpServices, stopped_at: int
) -> None:
    def stops(_: str, asked: int) -> StopRequested | None:
        return StopRequested() if asked > stopped_at else None

    first = Watched(services, refuse=stops)
    with pytest.raises(StopRequested):
        run_collect(context(tmp_path, control, first))
    assert len(rows_of(tmp_path, 1)) == 2 * (stopped_at - stopped_at % 8)
    second = Watched(services)
    found = run_collect(context(tmp_path, control, second, attempt=2))
    assert first.asked[:stopped_at] + second.asked == [each.question for each in ROWS]
    (tmp_path / "whole").mkdir()
    run_collect(context(tmp_path / "whole", control, services))
    assert rows_of(tmp_path, 2) == rows_of(tmp_path / "whole", 1)
    assert (found.counts["questions"], found.rows) == (20, 40)


def test_an_attempt_after_the_last_question_asks_for_nothing(
    tmp_path: Path, control: Control, services: HttpServices
) -> None:
    first = run_collect(context(tmp_path, control, services))
    idle = Watched(services)
    again = run_collect(context(tmp_path, control, idle, attempt=2))
    assert idle.asked == []
    same = {"path", "at"}
    assert again.model_dump(exclude=same) == first.model_dump(exclude=same)


def test_questions_beyond_the_context_are_left_out_counted_and_listed(
    tmp_path: Path, control: Control, services: HttpServices
) -> None:
    long = row(99, question="very " * 300)
    found = run_collect(context(tmp_path, control, services, rows=[*ROWS[:3], long, *ROWS[3:]], max_failed=0.0))
    assert (found.counts["too_long"], found.counts["failed"], found.rows) == (1, 0, 40)
    assert [(each.row, each.reason) for each in found.skipped] == [("r99", "too_long")]
    assert "512" in found.skipped[0].message


def test_questions_that_fail_for_good_are_listed_until_they_are_too_many(
    tmp_path: Path, control: Control, services: HttpServices
) -> None:
    def refuses(*numbers: int) -> Watched:
        return Watched(
            services,
            refuse=lambda question, _: (
                ScoringError("nan") if question in {ROWS[number].question for number in numbers} else None
            ),
        )

    found = run_collect(context(tmp_path, control, refuses(4), max_failed=0.05))
    assert (found.counts["failed"], [each.row for each in found.skipped]) == (1, ["r4"])
    (tmp_path / "two").mkdir()
    with pytest.raises(RolloutsDroppedError, match=r"2 questions failed for good, and of 20 at most 1 may .* r9: nan"):
        run_collect(context(tmp_path / "two", control, refuses(4, 9), max_failed=0.05))


def test_a_teacher_that_was_deleted_meanwhile_is_said_and_what_was_collected_stays(
    tmp_path: Path, control: Control, services: HttpServices
) -> None:
    gone = ModelNotFoundError("algebra@1 was deleted")
    with pytest.raises(ModelNotFoundError, match=r"algebra@1 was deleted: it was there when .*; 9 of 20 were done"):
        run_collect(context(tmp_path, control, Watched(services, refuse=lambda _, asked: gone if asked > 9 else None)))
    assert len(rows_of(tmp_path, 1)) == 16


def test_an_answer_of_another_teacher_is_never_used(tmp_path: Path, control: Control, services: HttpServices) -> None:
    asked = context(tmp_path, control, services)
    other = asked.job.model_copy(update={"student_version": "someone@1"})
    with pytest.raises((RolloutMismatchError, RltError), match="someone@1"):
        run_collect(ServiceContext(job=other, events=asked.events, stop=asked.stop, connect=asked.connect))


def test_a_dataset_without_rows_is_refused_before_anything_is_asked(
    tmp_path: Path, control: Control, services: HttpServices
) -> None:
    watched = Watched(services)
    with pytest.raises(InvalidTrainingDataError, match="no rows"):
        run_collect(context(tmp_path, control, watched, rows=[]))
    assert watched.asked == []


def test_where_nothing_is_kept_there_is_no_dataset_and_the_counts_say_why(
    tmp_path: Path, control: Control, services: HttpServices
) -> None:
    options = {"keep": "best_that_fits", "max_student_tokens": 1}
    with pytest.raises(
        InvalidTrainingDataError, match=r"20 questions, 40 explanations.* 40 over budget, 20 without row"
    ):
        run_collect(context(tmp_path, control, services, **options))


def test_a_question_that_is_too_long_for_the_student_alone_is_left_out_too(
    tmp_path: Path, control: Control, services: HttpServices
) -> None:
    class Refusing(Watched):
        def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
            if requests[0].question == ROWS[0].question:
                raise PromptTooLongError("the student holds less")
            return super().score(requests)

    found = run_collect(context(tmp_path, control, Refusing(services)))
    assert [(each.row, each.reason) for each in found.skipped] == [("r0", "too_long")]


def test_the_events_are_what_a_supervisor_reads(tmp_path: Path, control: Control, services: HttpServices) -> None:
    asked = context(tmp_path, control, services)
    asked.events.emit(run_collect(asked))
    types = [event.type for event in events_of(tmp_path, 1)]
    assert (types[0], set(types[1:-1]), types[-1]) == ("collecting", {"progress"}, "collected")
    last = events_of(tmp_path, 1)[-1]
    assert isinstance(last, CollectedEvent)
    assert json.loads(last.model_dump_json())["path"] == str(tmp_path / "attempt-1" / FOLDER)


class Solver(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint that solves every question but the fourth, and knows its caller by a key."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        first = int(body["messages"][-1]["content"].split()[0])
        found = first + (1 if first != 4 else 2)
        message = {"role": "assistant", "content": f"<think>One more than {first}.</think>\\boxed{{{found}}}"}
        answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": {}}
        known = self.headers["authorization"] == "Bearer secret"
        text = json.dumps(answer).encode()
        self.send_response(200 if known else 401)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def solver() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Solver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def outside(asked: ServiceContext, solver: str) -> ServiceContext:
    update = {"source_url": solver, "source_key_env": "STUB_KEY", "teacher_version": "stub/deep"}
    return replace(asked, job=asked.job.model_copy(update=update))


def test_a_source_outside_solves_and_wrong_answers_are_rejected(
    tmp_path: Path, control: Control, services: HttpServices, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_KEY", "secret")
    rows = [row(number, answer=str(number + 1)) for number in range(10)]
    options = {"source": {"name": "stub", "model": "deep", "verdict": "exact"}, "drop": ["wrong"], "keep": "best"}
    found = run_collect(outside(context(tmp_path, control, services, rows=rows, **options), solver))
    assert [each.id for each in rows_of(tmp_path, 1)] == [f"r{number}#0" for number in range(10) if number != 4]
    assert (found.counts["wrong"], found.counts["dropped_wrong"], found.counts["without_row"]) == (2, 2, 1)
    told = Provenance.model_validate(rows_of(tmp_path, 1)[0].metadata[PROVENANCE])
    assert (told.teacher, told.engine, told.right, told.kl_mean) == ("stub/deep", "stub", True, None)
    again = run_collect(outside(context(tmp_path, control, services, rows=rows, attempt=2, **options), "http://gone"))
    assert (again.counts, rows_of(tmp_path, 2)) == (found.counts, rows_of(tmp_path, 1))


def test_a_source_whose_key_is_missing_or_refused_ends_the_job(
    tmp_path: Path, control: Control, services: HttpServices, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(number, answer=str(number + 1)) for number in range(3)]
    options = {"source": {"name": "stub", "model": "deep", "verdict": "exact"}, "rows": rows}
    monkeypatch.delenv("STUB_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="STUB_KEY, the key of stub, is not set"):
        run_collect(outside(context(tmp_path, control, services, **options), solver))
    monkeypatch.setenv("STUB_KEY", "of another")
    with pytest.raises(ForbiddenError, match="401"):
        run_collect(outside(context(tmp_path, control, services, attempt=2, **options), solver))
