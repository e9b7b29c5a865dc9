"""What judges a chaos run can find fault with it: deploys, engines, answers, and harm that harmed nothing."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from benchmarks.reliability import deploys
from benchmarks.reliability.asking import faults_of
from benchmarks.reliability.broker_faults import TORN_BYTES, tear_file
from benchmarks.reliability.chaos import EXPECTED, Submitter, unexpected
from benchmarks.reliability.deck import Deck
from benchmarks.reliability.deploys import Deploys
from benchmarks.reliability.harm import Harm
from benchmarks.reliability.ledger import Book
from benchmarks.reliability.parts import stub_plant
from benchmarks.reliability.plant import Plant
from benchmarks.reliability.polling import Poller
from rlt_core.schemas.jobs import Job, JobEvent, WarmupSpec
from rlt_service.jobs.broker import broker_folders

AT = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = WarmupSpec(kind="warmup", role="teacher", dataset="ds_none", target_name="algebra")


def test_every_fault_has_its_turns_in_every_round_and_the_seed_decides_the_order() -> None:
    weights = {"often": 3, "seldom": 1}
    deck, again = Deck(weights, seed=1), Deck(weights, seed=1)
    dealt = [deck.deal() for _ in range(5 * len(deck))]
    rounds = [Counter(dealt[start : start + 4]) for start in range(0, 20, 4)]
    assert all(one == Counter(weights) for one in rounds)
    assert dealt == [again.deal() for _ in range(20)]


def book(reasons: Sequence[str]) -> Book:
    events = [
        JobEvent(seq=seq, job_id="job_1", attempt=seq, created_at=AT, type="requeued", data={"reason": reason})
        for seq, reason in enumerate(reasons, start=1)
    ]
    job = Job(id="job_1", kind="warmup", status="queued", created_at=AT, attempt=len(reasons), spec=SPEC)
    return Book(job=job, events=events, versions=0)


def test_a_job_that_no_fault_on_purpose_put_back_is_a_failure() -> None:
    assert unexpected(book([f"{reason} (signal 9)" for reason in EXPECTED])) == []
    strange = ["the engine is starting", "the supervisor broke: KeyError: 'x'", "the worker is not fit to run it"]
    assert len(unexpected(book(strange))) == len(strange)


@pytest.mark.parametrize(
    ("heard", "faults"),
    [
        ({"200": 3, "429": 1, "503": 2, "ConnectError": 1}, []),
        ({"200": 3, "500": 1}, ["/v1/explain: 500 1 times"]),
        ({"200": 3, "ReadTimeout": 2}, ["/v1/explain: ReadTimeout 2 times"]),
        ({"503": 9}, ["no explanation was made"]),
    ],
)
def test_a_client_must_hear_answers_and_refusals_and_nothing_else(heard: dict[str, int], faults: list[str]) -> None:
    assert faults_of(Counter(heard)) == faults


@pytest.mark.parametrize(
    ("heard", "faults"),
    [
        ({"/v1/jobs 200": 3, "/readyz 503": 1}, []),
        ({"/v1/jobs 200": 3, "/v1/jobs 500": 1}, ["/v1/jobs 500: 1 times"]),
        ({"/v1/jobs 200": 3, "/readyz ConnectError": 2}, ["/readyz ConnectError: 2 times"]),
        ({"/v1/jobs 503": 3, "/readyz 200": 3}, ["no jobs were listed"]),
    ],
)
def test_a_control_service_that_nobody_harms_must_answer_all_the_time(heard: dict[str, int], faults: list[str]) -> None:
    poller = Poller("http://127.0.0.1")
    poller.heard.update(heard)
    assert poller.faults() == faults


class Rows:
    """A plant's processes and rows as a deploy sees them."""

    def __init__(self, running: Sequence[Job], *, pid: int) -> None:
        self.jobs, self._running, self._pid = self, running, pid

    def list(self, **_: object) -> "Rows":
        return self

    @property
    def data(self) -> Sequence[Job]:
        return self._running

    def worker_pid_of(self, _job: Job) -> int:
        return self._pid

    def retire(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()

    def start_worker(self) -> None:
        pass


def ended(code: str, *, runs: bool = False) -> list[str]:
    """Deploy a worker that is this code, and says when it is ready; give what was wrong."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        job = Job(id="job_1", kind="warmup", status="running", created_at=AT, attempt=1, spec=SPEC)
        made = Deploys(Rows([job] if runs else [], pid=worker.pid))  # pyright: ignore[reportArgumentType] - all it asks
        made.worker(worker)
        made.settle()
    return [text.replace(str(worker.pid), "PID") for text in made.wrong]


DRAINS = "import signal, sys; signal.signal({}, lambda *_: sys.exit({})); print('ready', flush=True); signal.pause()"


def test_a_worker_that_drains_is_sound_and_one_that_keeps_its_job_is_not() -> None:
    drains = DRAINS.format(int(signal.SIGTERM), 0)
    assert ended(drains) == []
    assert ended(drains, runs=True) == ["worker PID was asked to end and kept job_1"]


def test_a_worker_that_ends_ill_or_not_at_all_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(DRAINS.format(int(signal.SIGTERM), 1)) == ["worker PID ended with 1 after SIGTERM"]
    monkeypatch.setattr(deploys, "WORKER_ENDS_S", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    assert ended(deaf) == ["worker PID had not ended 0 s after SIGTERM"]


def test_answers_to_a_submission_that_no_fault_explains_are_a_failure(tmp_path: Path) -> None:
    submitter = Submitter(plant=plant(tmp_path), course=None, count=1, seed=1, unharmed="")  # pyright: ignore[reportArgumentType]
    submitter.statuses.update({202: 5, 503: 1, 429: 1, 409: 1})
    assert submitter.faults() == []
    submitter.statuses.update({500: 2})
    submitter.gave_up = "submission 3 was not taken"
    assert submitter.faults() == ["/v1/train: 500 2 times", "submission 3 was not taken"]


def plant(folder: Path) -> Plant:
    return stub_plant(folder / "home")


def test_the_brokers_file_is_torn_at_its_end_and_one_that_is_empty_is_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # where it lies when the path of its home is too long
    whole = plant(tmp_path)
    file = broker_folders(whole.home).data / "appendonlydir" / "bells.incr.aof"
    file.parent.mkdir(parents=True)
    file.touch()
    assert not tear_file(whole)
    file.write_bytes(bytes(range(20)))
    assert tear_file(whole)
    assert file.read_bytes() == bytes(range(20 - TORN_BYTES))


def harm_of(whole: Plant) -> Harm:
    with subprocess.Popen([sys.executable, "-c", ""]) as veteran:
        whole.workers.append(veteran)
    return Harm(whole, seed=1)


def test_a_fault_that_finds_nothing_at_first_looks_again(tmp_path: Path) -> None:
    harm = harm_of(plant(tmp_path))
    looks = Counter[str]()

    def second_look(name: str) -> bool:
        looks[name] += 1
        return looks[name] == 2

    for name, (weight, _) in harm.turns.items():
        harm.turns[name] = (weight, partial(second_look, name))
    harm.strike()
    assert harm.done.total() == 1
    assert list(looks.values()) == [2]


def test_a_fault_that_harmed_nothing_in_two_rounds_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.reliability.harm.LOOKS_FOR_S", 0.0)
    harm = harm_of(plant(tmp_path))
    for name, (weight, _) in harm.turns.items():
        harm.turns[name] = (weight, lambda name=name: name != "cancel")
    for _ in range(2 * harm.round):
        assert harm.faults() == []
        harm.strike()
    assert harm.faults() == ["cancel: nothing was harmed in 2 rounds"]
