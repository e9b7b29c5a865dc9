"""Own the list of promises: each row's trials, how many in CI and in full, and what of it is real."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability import (
    broker_faults,
    cancels,
    chaos,
    cut_streams,
    engine_kills,
    kills,
    resumes,
    serving_drain,
    serving_overload,
    stalls,
    submissions,
    sustained_overload,
)
from benchmarks.reliability.by_tests import cases_of
from benchmarks.reliability.tiny_model import save_tiny_model
from benchmarks.reliability.trial import Trial
from rlt_service.engine.models import resolve_model
from rlt_service.settings import Settings

Trials = Callable[..., Iterator[Trial]]

SOONER = (
    "the lease is 3 s in place of 30, the heartbeat 0.5 s in place of 5, a trainer's grace 2 s in place of 20, the "
    "reconciler's round 0.5 s in place of 10"
)
STUB = (
    "control, broker, workers and supervisors are real processes on SQLite; the trainer is a stub without a model; "
    f"{SOONER}"
)
ON_POSTGRES = STUB.replace("SQLite", "a Postgres of its own, durable as it comes")
ALL_REAL = "all processes are real, the trainer too, on a random Llama of two layers; the engine is the fake one"
REAL = f"{ALL_REAL}; {SOONER}"

OF_THE_SUITE = "A trial is a test case, run with every `make test`."
RESUMES = "tests/train/on_tiny_model/test_resume.py"
BAD_INPUTS = "tests/service/test_bad_inputs.py::test_a_bad_input"
BUILTIN = "builtin:smollm2-135m"
SERVER = "the server is a real process; its engine is the fake one, slowed down"
DYING_TOO = "which dies with a process of its own"
DYING = f"the engine is the fake one, {DYING_TOO}"
ONE_PROCESS = "A worker is the supervisor of its job, one process."
NO_LIMIT = "One job is hit many times in a row, so three crashes do not end it here (`RLT_MAX_CRASHES=100`)."
SERVERS_TOO = "Each server is killed too, after two kills of its engine: a trial more."
HARMED = (
    "SIGKILL of workers, trainers, control service, broker, engine; SIGTERM and SIGSTOP of workers and of the control "
    "service; FLUSHALL, a torn append-only file, a held database, cancel, pause; no full disk, which is a row of its "
    f"own. {ONE_PROCESS} {NO_LIMIT}"
)


WATCHED = (
    "Memory and file descriptors are those of one worker and one control service, which are never killed; of the "
    "broker, whichever runs, it is the memory."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One promise."""

    name: str
    promise: str
    trials: Trials
    in_ci: int
    """0 where it bounds times that a busy machine does not keep."""
    in_full: int
    real_parts: str
    note: str = ""
    quick: Trials | None = None
    """How it is tried in CI, where that differs."""
    needs_postgres: bool = False
    """Whether it can be tried only where Postgres is installed."""


def _on_tiny_model(trials: Trials) -> Trials:
    def with_model(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
        with tempfile.TemporaryDirectory(prefix="rlt-tiny-") as model:
            yield from trials(count=count, seed=seed, folder=folder, base_model=save_tiny_model(Path(model) / "tiny"))

    return with_model


def _on_builtin_model(trials: Trials) -> Trials:
    def with_model(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
        base_model = resolve_model(BUILTIN, state_folder=Settings().home)
        yield from trials(count=count, seed=seed, folder=folder, base_model=base_model)

    return with_model


ROWS = (
    Row(
        name="kills-stub",
        promise="kill -9 of workers and trainers, also while a checkpoint is written: every job ends once with one "
        "version, no more than one save interval is done again, it runs again within 8 s (lease 3 s)",
        trials=kills.stub_trials,
        quick=kills.quick_stub_trials,
        in_ci=20,
        in_full=300,
        real_parts=STUB,
        note=f"{ONE_PROCESS} {NO_LIMIT}",
    ),
    Row(
        name="kills-real",
        promise="the same, with the real trainer (`warmup` and `rl`)",
        trials=_on_tiny_model(kills.real_trials),
        quick=_on_tiny_model(kills.quick_real_trials),
        in_ci=2,
        in_full=40,
        real_parts=REAL,
        note=NO_LIMIT,
    ),
    Row(
        name="kills-postgres",
        promise="the same, with the stub, on Postgres; of every other job the result gets an alias, by one move",
        trials=kills.postgres_trials,
        quick=kills.quick_postgres_trials,
        in_ci=5,
        in_full=100,
        real_parts=ON_POSTGRES,
        needs_postgres=True,
    ),
    Row(
        name="acknowledged",
        promise="the control service killed right after its 202: every job exists and finishes",
        trials=submissions.acknowledged_trials,
        in_ci=8,
        in_full=200,
        real_parts=STUB,
    ),
    Row(
        name="same-submission",
        promise="one submission 100 times at once with one key, over two services: one job",
        trials=submissions.same_trials,
        in_ci=1,
        in_full=20,
        real_parts=STUB,
    ),
    Row(
        name="broker",
        promise="broker killed, away for a minute, FLUSHALL, append-only file truncated: submissions are still "
        "taken, all finish, bells ring again within 30 s of its return",
        trials=broker_faults.trials,
        quick=broker_faults.quick_trials,
        in_ci=1,
        in_full=3,
        real_parts=STUB,
    ),
    Row(
        name="stalled-worker",
        promise="a worker stopped past its lease and woken: its writes are refused, its trainer ends within 10 s",
        trials=stalls.trials,
        in_ci=4,
        in_full=10,
        real_parts=STUB,
        note="The trainer ends by itself when its worker has been silent for a lease, which is before that wakes: "
        "the 10 s are seldom tried. That its writes are refused is read in the log of the woken worker.",
    ),
    Row(
        name="resume",
        promise="kill -9 of the trainer in a rollout, in an optimizer step, in the write of a checkpoint and between "
        "steps: weights, optimizer, schedule, random states and data order end bit-identical to the unbroken run's, "
        "and so is what each step tells",
        trials=_on_tiny_model(resumes.trials),
        in_ci=3,
        in_full=10,
        real_parts=REAL,
        note="Each point in turn, as the files of the attempt show it once the trainer stands still (SIGSTOP, then "
        "SIGKILL); a warm-up's show the write of a checkpoint and the step behind it. The fake engine samples by the "
        "seed alone, so a step whose journal was not written is sampled alike, and counted.",
    ),
    Row(
        name="cancel",
        promise="cancel at a random moment: ended within 30 s, no process left",
        trials=cancels.trials,
        in_ci=10,
        in_full=50,
        real_parts=STUB,
    ),
    Row(
        name="cancel-by-default",
        promise="the same, of trainers that ignore SIGTERM, with lease, heartbeat and grace as they come",
        trials=cancels.default_trials,
        in_ci=0,
        in_full=5,
        real_parts=STUB.removesuffix(f"; {SOONER}"),
        note="Up to 5 s pass until the heartbeat brings the wish, then 20 s of grace.",
    ),
    Row(
        name="drain",
        promise="asked to end with 32 calls in flight: every one is answered, the server is gone within 35 s",
        trials=serving_drain.trials,
        in_ci=4,
        in_full=20,
        real_parts=SERVER,
        note="That engine has no process of its own to leave behind.",
    ),
    Row(
        name="overload",
        promise="512 calls and 4 batches of 256 at once: only 200, 429 and 503, none lost, /healthz p99 below 1 s, "
        "memory back within 10%",
        trials=serving_overload.trials,
        in_ci=0,
        in_full=5,
        real_parts=SERVER,
        note="A bound of 100 ms, as under an overload that lasts, does not hold: the burst comes from the same two "
        "cores, and /healthz waits in the one loop that reads all 1,536 items.",
    ),
    Row(
        name="overload-sustained",
        promise="ten times the clients that keep it busy, for 60 s: only 200, 429 and 503, at least 95% of the "
        "saturated rate then and afterwards, /healthz p99 below 100 ms, memory back within 10%",
        trials=sustained_overload.trials,
        quick=sustained_overload.quick_trials,
        in_ci=1,
        in_full=5,
        real_parts=SERVER,
        note="`make test` does it for 10 s, among other tests: it promises no rate there, and no time of /healthz.",
    ),
    Row(
        name="engine-killed",
        promise="the engine killed under 32 clients: each hears 503 with Retry-After within 5 s, /readyz says so "
        "within 2 s, it is back by itself, no process of it is left; its server killed: the engine is gone within "
        "10 s; trainings that run go on in the same attempt, and one that calls the engine waits for it",
        trials=_on_tiny_model(engine_kills.fake_trials),
        in_ci=3,
        in_full=20,
        real_parts="control, broker, workers and supervisors are real processes on SQLite; the engine is the fake one, "
        "which dies with a process of its own; of two trainings one is a stub, one the real trainer's (`rl`, a random "
        "Llama of two layers)",
        note=SERVERS_TOO,
    ),
    Row(
        name="engine-killed-real",
        promise="the same, vLLM's core or worker killed (SmolLM2-135M)",
        trials=_on_builtin_model(engine_kills.real_trials),
        in_ci=0,
        in_full=3,
        real_parts="the engine is vLLM on CPU; the training is a stub, which does not call it",
        note="Three kills, not twenty: on two cores vLLM is back after 40 to 60 s. That all its processes end with "
        "their owner, killed at any of six moments of the start, is tested in `tests/engine/test_vllm_processes.py`. "
        f"{SERVERS_TOO} `tests/real/test_kills.py` has a real trainer wait for a killed vLLM.",
    ),
    Row(
        name="sse",
        promise="event streams of a running job cut inside an event, its server killed or ended meanwhile: a reader "
        "with Last-Event-ID, the SDK and `rlt jobs watch` see each event once, in order",
        trials=cut_streams.trials,
        in_ci=10,
        in_full=100,
        real_parts=STUB,
    ),
    Row(
        name="bad-adapters",
        promise="adapters that are truncated, of another base or rank, NaN, a pickle, a link, changed after their "
        "registration, and the like: refused with the reason, what served goes on serving",
        trials=cases_of("bad-adapters", "tests/service/test_bad_adapters.py", "tests/engine/test_adapters.py"),
        in_ci=0,
        in_full=1,
        real_parts="the app in process on the fake engine, which reads and checks adapters as the real one does",
        note=OF_THE_SUITE,
    ),
    Row(
        name="bad-checkpoints",
        promise="checkpoints that are truncated, changed by a bit, incomplete, a link, a pickle, of another spec: "
        "passed over for the one before, and training starts anew where none is sound",
        trials=cases_of(
            "bad-checkpoints",
            f"{RESUMES}::test_a_checkpoint_that_is_not_as_it_was_written_gives_way_to_the_one_before",
            f"{RESUMES}::test_without_any_sound_checkpoint_training_starts_anew_and_says_so",
            f"{RESUMES}::test_a_checkpoint_of_another_spec_is_not_taken_up",
        ),
        in_ci=0,
        in_full=1,
        real_parts="the real trainer in process on a tiny model",
        note=OF_THE_SUITE,
    ),
    Row(
        name="disk-full",
        promise="a disk that fills or is read-only: the job pauses with its last checkpoint whole and goes on when "
        "there is room, submissions are 503 and never a false 202",
        trials=cases_of(
            "disk-full",
            "tests/launch/test_small_disk.py",
            "tests/train/on_tiny_model/test_full_disk.py",
            "tests/service/test_control_storage.py",
        ),
        in_ci=0,
        in_full=1,
        real_parts="disks are small tmpfs; `rlt up` with a stub trainer, and the real trainer on a tiny model, as "
        "processes; in `test_control_storage` a database that says it is full",
        note=OF_THE_SUITE,
    ),
    Row(
        name="bad-inputs",
        promise="each row of the table of bad inputs: its documented 4xx with code and param, nothing stored, within "
        "0.2 s",
        trials=cases_of("bad-inputs", f"{BAD_INPUTS}_gets_its_documented_answer_and_leaves_nothing_behind", most_s=0.2),
        in_ci=0,
        in_full=1,
        real_parts="the app in process on the fake engine and SQLite",
        note=OF_THE_SUITE,
    ),
    Row(
        name="chaos",
        promise="all faults at random, 10 workers: what was acknowledged ends once, nothing twice (no version, no "
        "evaluation, no move of an alias), what is asked to end (SIGTERM) gives its work back and ends in its grace, "
        "the engine comes back, memory and file descriptors stay flat, no process left",
        trials=chaos.stub_trials,
        quick=chaos.quick_stub_trials,
        in_ci=150,
        in_full=20_000,
        real_parts=f"{STUB}; {DYING}",
        note=f"{HARMED} In full a fault each 3 s, so that two cores get the jobs done; in `make test` and in "
        f"`chaos-postgres` four times as often. The trainers do not call the engine; a client does. {WATCHED}",
    ),
    Row(
        name="chaos-real",
        promise="the same over jobs of the real trainer (`warmup` and `rl`), 3 workers; trainers wait for an engine or "
        "a service that is away and go on in the same attempt",
        trials=_on_tiny_model(chaos.real_trials),
        in_ci=3,
        in_full=100,
        real_parts=f"{ALL_REAL}, {DYING_TOO}; {SOONER}",
        note=f"{HARMED} In `make test` the few jobs seldom meet the engine's death; in full one must have.",
    ),
    Row(
        name="chaos-postgres",
        promise="all faults at random over stub jobs, 10 workers, on Postgres",
        trials=chaos.postgres_trials,
        in_ci=0,
        in_full=2_000,
        real_parts=f"{ON_POSTGRES}; {DYING}",
        note=f"{HARMED} A worker is stopped anywhere, also while it holds rows that others wait for. {WATCHED}",
        needs_postgres=True,
    ),
)
BY_NAME = {row.name: row for row in ROWS}
