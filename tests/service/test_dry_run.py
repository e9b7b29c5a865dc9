"""What a dry run tries, counts and estimates; and that it leaves nothing behind."""

import asyncio
import errno
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from rlt_core.errors import EngineUnavailableError, InvalidRequestError, StorageUnavailableError
from rlt_core.replicas import ranked
from rlt_core.row_files import RowsAt
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.dry_run import Rehearsal
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.jobs import JOB_SPEC, DryRun, RlSpec
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_core.schemas.solve import SolveRequest, SolveResponse
from rlt_service.control.dry_run import DryRunner
from rlt_service.control.players import RemotePlayers
from rlt_service.control.rehearsal import rehearse
from rlt_service.control.routes.wiring import dry_runner_of, players_of
from rlt_service.control.specs import Spec
from rlt_service.control.submission import Checked, Submission
from rlt_service.store.tables import Base
from tests.engine.model_files import write_model
from tests.support.control import ROWS, Control, check_problem, control_app
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    model = write_model(tmp_path_factory.mktemp("model"))
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=1024, base_model=str(model)) as made:
        yield made


@pytest.fixture(scope="module")
def dataset(control: Control) -> str:
    return control.upload()


def rl(dataset: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "rl", "dataset": dataset, "target_name": "algebra", **fields}


def warmup(dataset: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "warmup", "role": "teacher", "dataset": dataset, "target_name": "algebra", **fields}


def dry_run(control: Control, spec: dict[str, Any]) -> DryRun:
    answer = control.http.post("/v1/train?dry_run=true", json=spec)
    assert answer.status_code == 200, answer.text
    return DryRun.model_validate(answer.json())


def everything(control: Control) -> tuple[dict[str, int], set[str]]:
    """Count the rows of every table, and name every file under the state folder."""
    with control.services.database.reading() as session:
        rows = {
            table.name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for table in Base.metadata.sorted_tables
        }
    home = control.services.settings.home
    return rows, {str(path) for path in home.rglob("*") if not path.name.startswith("rlt.db")}


@pytest.mark.parametrize("kind", ["rl", "warmup"])
def test_a_dry_run_leaves_no_row_no_file_and_no_bell(control: Control, dataset: str, kind: str) -> None:
    before = everything(control)
    spec = rl(dataset, splits={"gate": 0.2}) if kind == "rl" else warmup(dataset)
    found = dry_run(control, spec)
    assert found.rehearsal is not None
    assert len(found.rehearsal.rows) == 5
    assert everything(control) == before


def test_a_dry_run_is_no_traffic_for_a_shadow(tmp_path: Path) -> None:
    with control_app(tmp_path) as control:
        candidate, path = control.version("candidate"), "/v1/aliases/teacher/default/shadow"
        assert control.http.put(path, json={"version": candidate, "share": 1.0}).status_code == 200
        before = control.http.get(path).json()
        dry_run(control, rl(control.upload()))
        explained = {"question": "1 + 1?", "solution": "2"}
        assert control.http.post("/v1/explain", json=explained).status_code == 200
        wait_until(lambda: control.http.get(path).json() != before, what="the shadow has seen the explanation")
        wait_until(lambda: control.http.get(path).json()["pairs"] == 1, what="its one pair is kept")


def test_five_rows_are_sampled_and_scored_as_the_job_would(control: Control, dataset: str) -> None:
    found = dry_run(control, rl(dataset, max_tokens=40, seed=3, reward={"kl_mean": 0.0}))
    tried = found.rehearsal
    assert tried is not None
    assert tried.engine is not None
    assert (tried.not_scored, tried.engine.name) == (None, "fake")
    assert (tried.teacher, tried.student) == (found.teacher, found.student)
    assert [row.row for row in tried.rows] == [f"row-{number}" for number in range(1, 6)]
    first = ROWS[0]
    again = control.http.post(
        "/v1/explain",
        json={
            "question": first["question"],
            "solution": first["solution"],
            "teacher": found.teacher,
            "temperature": 0.7,
            "max_tokens": 40,
            "seed": 3,
            "include": ["tokens"],
        },
    ).json()
    made = again["explanations"][0]
    assert tried.rows[0].explanation_tokens == again["usage"]["completion_tokens"]
    judged = control.http.post(
        "/v1/score",
        json={
            "question": first["question"],
            "solution": first["solution"],
            "explanations": [{name: made[name] for name in ("text", "tokens", "well_formed")}],
            "student": found.student,
            "baseline": True,
            "reward": {"kl_mean": 0.0},
        },
    ).json()["scores"][0]
    assert (tried.rows[0].reward, tried.rows[0].uplift) == (judged["reward"], judged["uplift"])


def test_estimates_are_the_products_of_what_was_counted(control: Control, dataset: str) -> None:
    spec = rl(dataset, steps=7, questions_per_step=2, samples_per_question=4, max_tokens=30)
    found = dry_run(control, spec)
    assert found.estimates is not None
    assert found.rehearsal is not None
    assert found.lengths is not None
    completion = found.rehearsal.generated_tokens / 5
    assert found.estimates.generated_tokens.value == pytest.approx(7 * 8 * completion)
    reader = found.lengths.mean_reader_tokens
    assert reader is not None
    assert found.estimates.scored_tokens.value == pytest.approx(7 * 8 * (reader + completion))
    assert found.estimates.total_s.value is not None
    assert found.estimates.memory_bytes.value is not None
    assert found.estimates.disk_bytes.value is not None


def test_a_base_that_is_not_here_leaves_its_bytes_unknown_and_says_why(tmp_path: Path) -> None:
    with control_app(tmp_path) as control:
        found = dry_run(control, rl(control.upload()))
    assert found.estimates is not None
    assert (found.estimates.memory_bytes.value, found.estimates.disk_bytes.value) == (None, None)
    assert "config.json" in found.estimates.memory_bytes.basis
    assert not (tmp_path / "models").exists()


def test_rows_that_a_warm_up_would_leave_out_are_counted(control: Control) -> None:
    long = {"question": "why?", "solution": "because", "reasoning_trace": "so it is and " * 200}
    found = dry_run(control, warmup(control.upload([*ROWS, long, long | {"question": "how?"}]), max_tokens=300))
    assert found.lengths is not None
    assert (found.lengths.looked_at, found.lengths.too_long, found.lengths.limit_tokens) == (12, 2, 300)
    assert any("2 of the 12 rows" in warning for warning in found.warnings)


def test_rows_that_a_warm_up_would_leave_out_are_not_tried(control: Control) -> None:
    long = {"question": "why?", "solution": "because", "reasoning_trace": "so it is and " * 2000}
    found = dry_run(control, warmup(control.upload([long, long | {"question": "how?"}, *ROWS]), max_tokens=300))
    assert found.rehearsal is not None
    assert (len(found.rehearsal.rows), found.rehearsal.not_scored) == (5, None)


def test_how_many_rows_do_not_fit_is_said(control: Control) -> None:
    long = {"question": "why " * 300, "solution": "because"}
    dataset = control.upload([*ROWS, long, long | {"solution": "therefore"}])
    answer = control.http.post("/v1/train?dry_run=true", json=rl(dataset))
    assert "2 of the 12 longest rows" in check_problem(answer, 422, "prompt_too_long", "/max_tokens")["detail"]


def test_less_time_than_the_job_takes_is_warned_of(control: Control, dataset: str) -> None:
    found = dry_run(control, rl(dataset, steps=1_000_000, max_runtime_s=1.0))
    assert any("max_runtime_s" in warning for warning in found.warnings)


def test_less_room_than_the_job_takes_is_warned_of(
    control: Control, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 10})())
    found = dry_run(control, rl(dataset))
    assert any("disk" in warning for warning in found.warnings)


def with_memory(monkeypatch: pytest.MonkeyPatch, *, total: int, available: int) -> None:
    memory = type("Memory", (), {"total": total, "available": available})()
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)


@pytest.mark.parametrize(
    ("total", "param"),
    [(60_000, "/max_tokens"), (1000, "/lora")],  # base, adapter and reference take 3424 + 32768 + 8192 B
)
def test_training_that_no_worker_of_this_machine_could_hold_is_refused_with_the_arithmetic(
    control: Control, dataset: str, monkeypatch: pytest.MonkeyPatch, total: int, param: str
) -> None:
    with_memory(monkeypatch, total=total, available=total)
    runner = dry_runner_of(control.services)
    here = replace(runner, settings=runner.settings.model_copy(update={"broker_url": None}))
    spec = JOB_SPEC.validate_python(rl(dataset, max_tokens=100))
    with pytest.raises(InvalidRequestError, match=r"one row at a time, this machine has .*weights 3\.42 kB") as raised:
        asyncio.run(here.run(spec))
    assert (raised.value.status, raised.value.param) == (422, param)
    assert "gradient_checkpointing" in str(raised.value)
    # With a broker of their own, workers may be on any machine: then it is a warning.
    found = asyncio.run(runner.run(spec))
    assert any("smaller passes" in warning for warning in found.warnings)


def test_memory_that_is_taken_at_the_moment_is_a_warning_and_no_refusal(
    control: Control, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory(monkeypatch, total=10**12, available=1000)
    runner = dry_runner_of(control.services)
    here = replace(runner, settings=runner.settings.model_copy(update={"broker_url": None}))
    found = asyncio.run(here.run(JOB_SPEC.validate_python(rl(dataset))))
    assert any("smaller passes" in warning for warning in found.warnings)


class BreakingRows(Sequence[DatasetRow]):
    """Rows of a large file, on a disk that breaks after so many of them were read."""

    def __init__(self, rows: Sequence[DatasetRow], *, well: int) -> None:
        self._rows = rows
        self._well = well

    def __len__(self) -> int:  # noqa: D105 - as any sequence's
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:  # noqa: D105 - as any sequence's
        if isinstance(index, slice):
            return RowsAt(self, range(len(self))[index])
        row = self._rows[index]
        self._well -= 1
        if self._well < 0:
            raise OSError(errno.EIO, "Input/output error")
        return row


class BrokenAfterwards(Submission):
    """Its checks find all well; of what they give so many rows can be read again."""

    well = 0

    def check(self, spec: Spec) -> Checked:
        checked = super().check(spec)
        parts = checked.parts
        return replace(checked, parts=replace(parts, train=BreakingRows(parts.train, well=self.well)))


class BrokenOnceCounted(BrokenAfterwards):
    """Each row can be counted in tokens, and then none can be tried."""

    well = len(ROWS)


@pytest.mark.parametrize("submission", [BrokenAfterwards, BrokenOnceCounted])
@pytest.mark.parametrize("kind", ["rl", "warmup"])
def test_a_disk_that_breaks_while_rows_are_counted_or_chosen_is_told_as_such(
    control: Control, dataset: str, kind: str, submission: type[BrokenAfterwards]
) -> None:
    runner = dry_runner_of(control.services)
    checks = {one.name: getattr(runner.submission, one.name) for one in fields(Submission)}
    spec = JOB_SPEC.validate_python({"rl": rl, "warmup": warmup}[kind](dataset))
    with pytest.raises(StorageUnavailableError, match=f"read the rows of dataset {dataset}: .*Input/output error"):
        asyncio.run(replace(runner, submission=submission(**checks)).run(spec))


def test_a_process_without_players_says_so_and_still_checks(control: Control, dataset: str) -> None:
    alone = replace(control.services, engines=None)
    assert players_of(alone) is None
    runner: DryRunner = dry_runner_of(alone)
    found = asyncio.run(runner.run(JOB_SPEC.validate_python(rl(dataset))))
    assert (found.train_rows, found.lengths) == (10, None)
    assert found.rehearsal is not None
    assert "RLT_SERVICE_URL" in (found.rehearsal.not_scored or "")
    assert found.estimates is not None
    assert (found.estimates.total_s.value, found.estimates.scored_tokens.value) == (None, None)


def test_players_elsewhere_are_asked_over_http(control: Control, dataset: str) -> None:
    class Elsewhere(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            content = await request.aread()
            answer = await asyncio.to_thread(
                control.http.post, request.url.path, content=content, headers={"Content-Type": "application/json"}
            )
            return httpx.Response(answer.status_code, content=answer.content, headers=dict(answer.headers))

    url = control.services.settings.model_copy(update={"service_url": "http://elsewhere.test"})
    alone = replace(control.services, engines=None, settings=url)
    assert players_of(alone) == RemotePlayers(base_url="http://elsewhere.test")
    runner = replace(
        dry_runner_of(alone), players=RemotePlayers(base_url="http://elsewhere.test", transport=Elsewhere())
    )
    found = asyncio.run(runner.run(JOB_SPEC.validate_python(rl(dataset))))
    assert found.rehearsal is not None
    assert (len(found.rehearsal.rows), found.rehearsal.not_scored) == (5, None)
    here = dry_run(control, rl(dataset))
    assert found.estimates is not None
    assert here.estimates is not None
    assert found.lengths is None
    assert found.estimates.total_s.value is not None
    # All rows against the first five, and what each process makes of the same seeds.
    assert found.estimates.scored_tokens.value == pytest.approx(here.estimates.scored_tokens.value, rel=0.2)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(503, json={"detail": "the engine is starting"}), "the engine is starting"),
        (httpx.Response(200, json={"no": "explanation"}), "no ExplainResponse"),
        (httpx.ConnectError("refused"), "does not answer"),
    ],
)
def test_what_is_no_answer_is_said_and_is_no_failure(
    control: Control, dataset: str, answer: httpx.Response | Exception, said: str
) -> None:
    async def answered(_request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    players = RemotePlayers(base_url="http://elsewhere.test", transport=httpx.MockTransport(answered))
    runner = replace(dry_runner_of(control.services), players=players)
    found = asyncio.run(runner.run(JOB_SPEC.validate_python(rl(dataset))))
    assert found.rehearsal is not None
    assert said in (found.rehearsal.not_scored or "")
    assert found.estimates is not None
    assert "max_tokens" in found.estimates.generated_tokens.basis


def test_players_of_several_addresses_are_asked_by_part_and_question() -> None:
    asked: list[str] = []

    def answered(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == own:
            raise httpx.ConnectError("refused")
        return httpx.Response(422, json={"detail": "that is none"})

    urls = ["http://s1.test", "http://s2.test"]
    own, other = (url.removeprefix("http://") for url in ranked("q", urls))
    players = RemotePlayers(
        base_url=f"teacher+control=http://t.test,student={urls[0]},student={urls[1]}",
        transport=httpx.MockTransport(answered),
    )
    for _ in range(2):
        with pytest.raises(EngineUnavailableError, match=rf"{other}/v1/solve answered 422: that is none"):
            asyncio.run(players.solve(SolveRequest(question="q")))
    assert asked == [own, other, other]


class Slow:
    """Players of whom one fails while the others work."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails
        self.ended = 0

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        if self.fails and request.seed == 2:
            raise EngineUnavailableError("gone")
        try:
            await asyncio.sleep(3600.0)
        finally:
            self.ended += 1
        raise AssertionError

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        raise AssertionError

    async def solve(self, request: SolveRequest) -> SolveResponse:
        raise AssertionError


@pytest.mark.parametrize(("fails", "said", "ended"), [(True, "gone", 4), (False, "0.2 s", 5)])
def test_nobody_goes_on_working_for_a_trial_that_is_over(
    control: Control, dataset: str, fails: bool, said: str, ended: int
) -> None:
    players, spec = Slow(fails=fails), RlSpec.model_validate(rl(dataset))
    rows = control.services.datasets.rows(dataset, limit=5).data
    found = asyncio.run(rehearse(spec, rows, players=players, teacher="fake@0", student="fake@0", patience_s=0.2))
    assert isinstance(found.shown, Rehearsal)
    assert said in (found.shown.not_scored or "")
    assert players.ended == ended
