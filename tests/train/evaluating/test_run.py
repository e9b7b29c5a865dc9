"""An evaluate from its submission to figures side by side, on the real app and the fake engine, in one process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rlt_client import Client
from rlt_core.answer_texts import FoundAnswer
from rlt_core.errors import ConfigurationError, InconsistentStateError, StaleAttemptError
from rlt_core.measured_rows import FOLDER, file_name, read_questions
from rlt_core.measures import figures_of, values_of
from rlt_core.schemas.base import EngineRef
from rlt_core.schemas.datasets import Dataset
from rlt_core.schemas.jobs import Job, JobResult
from rlt_core.schemas.solve import SolveRequest, SolveResponse
from rlt_core.schemas.teachers import ModelVersion
from rlt_core.schemas.trainer import TRAINER_EVENT, EvaluatedEvent, ProgressEvent, TrainerJob
from rlt_service.jobs.completion import Completion
from rlt_service.jobs.preparation import Preparation
from rlt_service.store.measured import MeasuredStore
from rlt_train.errors import RolloutMismatchError, StopRequested
from rlt_train.evaluating.run import run_evaluate
from rlt_train.events import EventWriter
from rlt_train.lifeline import StopFlag
from rlt_train.service_context import ServiceContext
from rlt_train.services import HttpServices
from tests.support.app_transport import AppTransport
from tests.support.control import Control, control_app

ROWS = [
    {"id": f"q{number}", "question": f"{number} + 1?", "solution": f"It is {number % 10}.", "answer": str(number % 10)}
    for number in range(12)
]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=1024, service_url="http://app") as made:
        for seed in (1, 2):
            made.version("pupil", role="student", seed=seed)
            made.version("algebra", seed=10 + seed)
        yield made


@dataclass
class Watched(HttpServices):
    """The real services, which note what they are asked; from a call on they may stop, or spoil an answer."""

    client: Client
    stop_at: int | None = None
    spoil: dict[str, Any] = field(default_factory=dict[str, Any])
    asked: list[SolveRequest] = field(default_factory=list[SolveRequest])

    def __post_init__(self) -> None:
        """Wire the real services."""
        super().__init__(self.client, job_id="job_0", attempt=1)

    @property
    def calls_at_once(self) -> int:
        return 1 if self.stop_at is not None else 4

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        if self.stop_at is not None and len(self.asked) == self.stop_at:
            raise StopRequested
        self.asked += requests
        return [answer.model_copy(update=self.spoil) for answer in super().solve(requests)]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a worker and a trainer do to one job, step by step."""

    control: Control
    client: Client

    def submit(self, **spec: Any) -> Job:
        """Submit past nothing, and claim."""
        body = {"kind": "evaluate", "verdict": "exact", "max_tokens": 200, "priority": 100, **spec}
        if spec.get("role") == "teacher":
            del body["verdict"]
        answer = self.control.http.post("/v1/train", json=body)
        assert answer.status_code == 202, answer.text
        return self.claim(answer.json()["id"])

    def claim(self, job_id: str) -> Job:
        claimed = self.control.services.jobs.claim(queue="train", worker="test")
        assert claimed is not None
        assert claimed.job.id == job_id
        return claimed.job

    def prepare(self, job: Job) -> TrainerJob:
        services = self.control.services
        prepared = Preparation(
            settings=services.settings,
            jobs=services.jobs,
            datasets=services.datasets,
            registry=services.registry,
            artifacts=services.artifacts,
        ).prepare(job, base_dir=Path("base"))
        services.artifacts.job_file(job.id, job.attempt).write_text(prepared.model_dump_json())
        return prepared

    def run(self, prepared: TrainerJob, services: Watched | None = None, **more: Any) -> EvaluatedEvent:
        context = ServiceContext(
            job=prepared,
            events=EventWriter(Path(prepared.events_path)),
            stop=StopFlag(),
            connect=lambda: services or Watched(client=self.client),
        )
        return run_evaluate(context, **more)

    @property
    def completion(self) -> Completion:
        services = self.control.services
        return Completion(
            settings=services.settings,
            jobs=services.jobs,
            datasets=services.datasets,
            registry=services.registry,
            measured=MeasuredStore(services.database),
        )

    def complete(self, job: Job, told: EvaluatedEvent) -> JobResult:
        made = self.completion.register(job, told, None)
        self.control.services.jobs.append_event(job.id, job.attempt, "evaluated", told.model_dump(mode="json"))
        result = self.completion.result(job, made, cost={}, keep_on=lambda: True)
        self.control.services.jobs.finish(job.id, job.attempt, "succeeded", result=result)
        return result

    def whole(self, **spec: Any) -> JobResult:
        job = self.submit(**spec)
        return self.complete(job, self.run(self.prepare(job)))


@pytest.fixture(scope="module")
def bench(control: Control) -> Iterator[Bench]:
    with Client("http://localhost", transport=AppTransport(control.http)) as client:
        yield Bench(control=control, client=client)


@pytest.fixture(scope="module")
def dataset(control: Control) -> str:
    return control.upload(ROWS)


def test_two_students_are_measured_and_lie_side_by_side(bench: Bench, dataset: str) -> None:
    models = ["pupil@1", "pupil@2"]
    result = bench.whole(dataset=dataset, models=models, samples=4, pass_at=[1, 2, 4], seed=5)
    assert (result.evaluation, len(result.evaluations)) == (result.evaluations[0], 2)
    found = [bench.client.evaluations.measured(name) for name in result.evaluations]
    assert [(one.model, one.questions, one.samples, one.engine) for one in found] == [
        (model, 12, 4, "fake") for model in models
    ]
    for one in found:
        rows = bench.client.evaluations.answers(one.id, limit=100)
        # Every completion and verdict can be read, and the figures are theirs.
        assert len(rows.data) == 48
        assert [row.question_id for row in rows.data[::4]] == [row["id"] for row in ROWS]
        assert one.figures == figures_of(values_of(rows.data, pass_at=[1, 2, 4]))
        assert all(row.right == (row.found == row.answer) for row in rows.data)
        assert 0.0 < one.figures["pass@1"].mean < one.figures["pass@4"].mean
        assert one.figures["mean@4"] == one.figures["pass@1"]
    beside = bench.client.evaluations.compare(result.evaluations)
    [pair] = beside.pairs
    gain = pair.differences["pass@1"]
    assert gain.mean == pytest.approx(found[1].figures["pass@1"].mean - found[0].figures["pass@1"].mean)
    assert gain.ci_low <= gain.mean <= gain.ci_high
    assert (gain.n, beside.differing) == (12, [])
    assert bench.client.evaluations.compare(models) == beside
    assert result.cost["generated_tokens"] > 0
    lineage = bench.control.http.get("/v1/students/pupil/versions/2/lineage").json()
    assert lineage["evaluations"] == [result.evaluations[1]]


def test_the_same_seed_measures_the_same_and_every_model_is_asked_with_it(bench: Bench, dataset: str) -> None:
    watched = Watched(client=bench.client)
    job = bench.submit(dataset=dataset, models=["pupil@1", "pupil@2"], samples=2, seed=9)
    first = bench.complete(job, bench.run(bench.prepare(job), watched))
    seeds = [{request.seed for request in watched.asked if request.question == row["question"]} for row in ROWS]
    assert [len(each) for each in seeds] == [1] * 12
    assert len(set.union(*seeds)) == 12
    again = bench.whole(dataset=dataset, model="pupil@1", samples=2, seed=9)
    one, two = (
        bench.client.evaluations.answers(name, limit=100).data
        for name in (first.evaluations[0], again.evaluation or "")
    )
    assert one == two


def test_a_teacher_is_measured_by_its_reward_and_parts(bench: Bench, dataset: str) -> None:
    result = bench.whole(
        dataset=dataset, role="teacher", models=["algebra@1", "algebra@2"], student="pupil@1", samples=2
    )
    one = bench.client.evaluations.measured(result.evaluation or "")
    assert (one.role, one.model, one.student, one.verdict) == ("teacher", "algebra@1", "pupil@1", None)
    rows = bench.client.evaluations.rows(one.id, limit=100).data
    assert len(rows) == 24
    assert one.figures["reward"].mean == pytest.approx(sum(row.reward for row in rows) / 24)
    assert one.figures.keys() == {"reward", "r_ss", "r_kl", "uplift", "length", "closed", "verbatim"}
    [pair] = bench.client.evaluations.compare(result.evaluations).pairs
    assert pair.differences.keys() == {"reward", "r_ss", "r_kl", "uplift"}
    of_student = bench.whole(dataset=dataset, model="pupil@1").evaluation
    refused = bench.control.http.get(f"/v1/evaluations?compare={one.id},{of_student}")
    assert "different roles" in refused.json()["detail"]
    # A gate goes by comparisons alone.
    put = {"version": "algebra@2", "expected": "fake@0", "gate": "if_better", "evaluation": one.id}
    answer = bench.control.http.put("/v1/aliases/teacher/default", json=put)
    assert (answer.status_code, "algebra@1 alone" in answer.json()["detail"]) == (404, True)


def test_what_an_attempt_has_asked_is_not_asked_again(bench: Bench, dataset: str) -> None:
    spec = {"dataset": dataset, "models": ["pupil@1", "pupil@2"], "seed": 3}
    expected = [
        [row.model_dump() for row in bench.client.evaluations.answers(name, limit=100).data]
        for name in bench.whole(**spec).evaluations
    ]
    job = bench.submit(**spec)
    stopping = Watched(client=bench.client, stop_at=17)  # all of the first model's, 5 of the second's
    prepared = bench.prepare(job)
    with pytest.raises(StopRequested):
        bench.run(prepared, stopping)
    with (Path(prepared.attempt_dir) / FOLDER / file_name(1)).open("ab") as file:
        file.write(b'{"position": 5, "cut')
    bench.control.services.jobs.requeue(job.id, job.attempt, "killed", crash=False)
    again = bench.claim(job.id)
    rest = Watched(client=bench.client)
    told = bench.run(bench.prepare(again), rest)
    assert len(rest.asked) == 24 - 17
    with pytest.raises(StaleAttemptError):
        bench.completion.register(job, told, None)
    result = bench.complete(again, told)
    assert [
        [row.model_dump() for row in bench.client.evaluations.answers(name, limit=100).data]
        for name in result.evaluations
    ] == expected


def test_what_was_stored_once_is_not_stored_again(bench: Bench, dataset: str) -> None:
    job = bench.submit(dataset=dataset, model="pupil@1")
    told = bench.run(bench.prepare(job))
    first, again = bench.completion.register(job, told, None), bench.completion.register(job, told, None)
    stored = bench.completion.made(job)
    assert stored is not None
    assert not isinstance(stored, ModelVersion | Dataset)
    assert [one.id for one in stored] == [one.id for one in first] == [one.id for one in again]  # pyright: ignore[reportAttributeAccessIssue] - evaluations all
    bench.complete(job, told)


def test_answers_that_are_missing_make_no_evaluation(bench: Bench, dataset: str) -> None:
    job = bench.submit(dataset=dataset, model="pupil@1")
    told = bench.run(bench.prepare(job))
    path = Path(told.path) / file_name(0)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(InconsistentStateError, match="11 of 12 questions"):
        bench.completion.register(job, told, None)
    bench.control.services.jobs.finish(job.id, job.attempt, "failed")


@pytest.mark.parametrize("spoil", [{"format": "r1@1"}, {"solutions": []}], ids=str)
def test_an_answer_that_was_not_asked_for_ends_the_job(bench: Bench, dataset: str, spoil: dict[str, Any]) -> None:
    job = bench.submit(dataset=dataset, model="pupil@1")
    with pytest.raises(RolloutMismatchError):
        bench.run(bench.prepare(job), Watched(client=bench.client, spoil=spoil))
    bench.control.services.jobs.finish(job.id, job.attempt, "failed")


def test_answers_of_two_engines_make_no_figures(bench: Bench, dataset: str) -> None:
    job = bench.submit(dataset=dataset, models=["pupil@1", "pupil@2"])
    prepared = bench.prepare(job)
    noted = prepared.model_copy(update={"measured_versions": ["pupil@1"]})
    real = EngineRef(name="vllm", version="1")
    bench.run(noted, Watched(client=bench.client, spoil={"engine": real}))
    bench.control.services.jobs.requeue(job.id, job.attempt, "killed", crash=False)
    again = bench.claim(job.id)
    with pytest.raises(RolloutMismatchError, match="by the engine 'fake', others by 'vllm'"):
        bench.run(bench.prepare(again))
    bench.control.services.jobs.finish(job.id, again.attempt, "failed")


def test_mathematics_is_compared_by_what_is_handed_in(bench: Bench, dataset: str) -> None:
    job = bench.submit(dataset=dataset, model="pupil@1")
    prepared = bench.prepare(job)
    spec = prepared.spec.model_copy(update={"verdict": "math_verify"})

    def always(*, expected: str, found: FoundAnswer) -> bool:
        return True

    told = bench.run(prepared.model_copy(update={"spec": spec}), equal=always)
    assert all(row.right for question in read_questions(Path(told.path) / file_name(0)) for row in question.answers)
    events = Path(prepared.events_path).read_text().splitlines()
    progress = [event for event in map(TRAINER_EVENT.validate_json, events) if isinstance(event, ProgressEvent)]
    assert (progress[-1].step, progress[-1].total, progress[-1].metrics["right_share"]) == (12, 12, 1.0)
    bench.control.services.jobs.finish(job.id, job.attempt, "failed")


def test_a_job_that_names_nobody_is_refused_by_its_trainer(bench: Bench, dataset: str) -> None:
    job = bench.submit(dataset=dataset, model="pupil@1")
    prepared = bench.prepare(job).model_copy(update={"measured_versions": []})
    with pytest.raises(ConfigurationError, match="measured_versions"):
        bench.run(prepared)
    bench.control.services.jobs.finish(job.id, job.attempt, "failed")
