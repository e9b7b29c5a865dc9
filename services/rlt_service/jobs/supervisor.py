"""Own one attempt at one job, from the claim to its end. Knows processes and rows, no torch."""

import logging
import math
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from rlt_core.errors import (
    InvalidAdapterError,
    InvalidRequestError,
    InvalidWeightsError,
    NotFoundError,
    RltError,
    StaleAttemptError,
    UnavailableError,
)
from rlt_core.log_records import FORMAT_VARIABLE, bind
from rlt_core.schemas.base import Role
from rlt_core.schemas.jobs import Job, JobError, JobResult, JobStatus
from rlt_core.schemas.trainer import EXIT_LEASE_LOST, EXIT_SUCCESS, TrainerJob
from rlt_service.access.secrets import make_secret
from rlt_service.bases import base_role
from rlt_service.caches import cache_environment
from rlt_service.jobs.attempt_traces import trace_variables, traced
from rlt_service.jobs.completion import Completion, Made
from rlt_service.jobs.heartbeat import Heartbeat
from rlt_service.jobs.launching import launched, parallel_of
from rlt_service.jobs.memory_kills import memory_kills
from rlt_service.jobs.preparation import Preparation
from rlt_service.jobs.promotion import Interrupted
from rlt_service.jobs.relay import EventRelay
from rlt_service.jobs.silence import Silence
from rlt_service.jobs.strays import MARK, mark_of
from rlt_service.jobs.trainer_process import API_KEY, TrainerProcess
from rlt_service.jobs.verdict import error_of
from rlt_service.settings import Settings
from rlt_service.store.faults import StorageFullError, storage_faults
from rlt_service.store.jobs import ClaimedJob, JobStore
from rlt_service.store.keys import KeyStore

LOGGER = logging.getLogger(__name__)

POLL_S = 0.1
"""Longest time in which a cancellation, a drain or an ended trainer is not noticed."""

STORAGE_PATIENCE_S = 30.0
"""How long a write that the disk does not take is tried again before the job pauses for a human."""
LONGEST_PAUSE_S = 5.0
UNFIT_PAUSE_S = 60.0  # job_rows.LONGEST_PAUSE_S: a longer one would pass for a clock that was set back
"""How long a job waits that found no fit surroundings: it would find the same ones again at once."""

StopReason = Literal["cancelled", "paused", "max_runtime", "drain", "lost", "hung"]
Fitness = Literal["fit", "unfit"]
"""Of a worker: whether the next job has better prospects than this one had."""
StoredT = TypeVar("StoredT")


@dataclass(slots=True)
class Drain:
    """Whether this worker was asked to end. A plain flag: it is set in a signal handler, where a lock could hang."""

    requested: bool = field(default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How a trainer's run ended."""

    stopped: StopReason | None
    exit_code: int
    silence_s: float
    """The longest time that it heard no beat, up to its end."""
    left_over: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """Runs claimed jobs, one at a time, in the thread that calls it (the main one)."""

    settings: Settings
    jobs: JobStore
    keys: KeyStore
    preparation: Preparation
    completion: Completion
    resolve_base: Callable[[Role], Path]
    """Returns the folder of a role's base model; may convert a builtin."""
    trainer_command: Sequence[str]
    drain: Drain
    memory_kills: Callable[[], int | None] = memory_kills
    """Counts what the kernel has ended for want of memory."""

    def run(self, claimed: ClaimedJob) -> Fitness:
        """Bring one attempt to its end; whatever happens, the row says so or another worker will."""
        with traced(claimed):
            return self._run(claimed)

    def _run(self, claimed: ClaimedJob) -> Fitness:
        attempt = _Attempt(self, claimed.job)
        try:
            fitness = attempt.run()
            LOGGER.info("attempt %d of %s has ended", claimed.attempt, claimed.job.id)
            return fitness
        except StaleAttemptError as error:
            LOGGER.warning("gave up %s: %s", claimed.job.id, error)
        except UnavailableError as error:
            LOGGER.error("could not store the end of %s, its lease will run out: %s", claimed.job.id, error)
        except Exception as error:  # the task's boundary: a fault of ours must not leave the job running for ever
            LOGGER.exception("attempt %d of %s broke", claimed.attempt, claimed.job.id)
            attempt.give_back(f"the supervisor broke: {type(error).__name__}: {error}")
        return "fit"


class _Attempt:
    """The state of one attempt while it runs."""

    def __init__(self, supervisor: Supervisor, job: Job) -> None:
        self._supervisor = supervisor
        self._settings = supervisor.settings
        self._jobs = supervisor.jobs
        self._job = job
        self._trainer: TrainerProcess | None = None
        self._key = make_secret()
        self._key_is_stored = False
        self._killed_before: int | None = None
        self._heartbeat = Heartbeat(
            supervisor.jobs,
            job_id=job.id,
            attempt=job.attempt,
            period_s=supervisor.settings.heartbeat_s,
            on_beat=self._beat_trainer,
            run_before_s=job.runtime_s,
        )

    def run(self) -> Fitness:
        """Prepare, train, complete; the heartbeat goes on all along."""
        self._heartbeat.start()
        try:
            return self._run()
        except StorageFullError as error:
            if self._supervisor.drain.requested:
                raise
            self._suspend(JobError(code="disk_full", message=str(error), retryable=True))
            return "unfit"
        finally:
            self._heartbeat.stop()
            self._end_key()

    def _run(self) -> Fitness:
        if self._heartbeat.lost:
            raise StaleAttemptError(f"attempt {self._job.attempt} lost {self._job.id} before it began")
        made = self._stored(lambda: self._supervisor.completion.made(self._job))
        if made is not None:
            # An earlier attempt registered the result and died before it could say so.
            self._finish(made, cost={})
            return "fit"
        try:
            prepared = self._stored(self._prepare, patience_s=STORAGE_PATIENCE_S)
        except (NotFoundError, InvalidRequestError) as error:
            LOGGER.warning("%s cannot run: %s", self._job.id, error)
            self._end("failed", JobError(code="invalid", message=str(error)))
            return "fit"
        except (RltError, OSError) as error:
            if isinstance(error, UnavailableError | StaleAttemptError):
                raise
            # No fault of the job: a worker with another base, or without its files, must not end what others can run.
            LOGGER.error("this worker cannot run %s: %s", self._job.id, error)
            self._give_back(f"the worker is not fit to run it: {error}", crash=False, later_s=UNFIT_PAUSE_S)
            return "unfit"
        self._train(prepared)
        return "fit"

    def _prepare(self) -> TrainerJob:
        with storage_faults(f"prepare {self._job.id}"):
            base_dir = self._supervisor.resolve_base(base_role(self._job.spec))
            return self._supervisor.preparation.prepare(self._job, base_dir=base_dir)

    def give_back(self, reason: str) -> None:
        """Return the job to the queue after a fault of the supervisor itself."""
        try:
            tail = "" if self._trainer is None else self._trainer.log_tail()
            error = JobError(code="worker_lost", message=reason, retryable=True, log_tail=tail)
            self._jobs.requeue(self._job.id, self._job.attempt, reason, error=error)
        except RltError as error:
            LOGGER.error("could not give %s back, its lease will run out: %s", self._job.id, error)

    def _stored(self, action: Callable[[], StoredT], *, patience_s: float = math.inf) -> StoredT:
        """Try again what the database or the disk did not take: what was trained must not be lost to an outage.

        Raises the last UnavailableError when the worker drains, or when the disk is full for longer than patience;
        StaleAttemptError once the job is somebody else's.
        """
        deadline_s, pause_s = time.monotonic() + patience_s, 0.1
        while True:
            try:
                return action()
            except UnavailableError as error:
                if self._heartbeat.lost:
                    raise StaleAttemptError(f"attempt {self._job.attempt} lost {self._job.id} meanwhile") from error
                spent = isinstance(error, StorageFullError) and time.monotonic() >= deadline_s
                if self._supervisor.drain.requested or spent:
                    raise
                LOGGER.warning("%s: %s; trying again", self._job.id, error)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _api_key(self) -> str:
        """Give the attempt's own key, which works while the attempt runs; on a server without keys it is not looked at.

        It is there from the start, since the server's first key may be made while a trainer runs.
        """
        if not self._key_is_stored:
            id_, attempt, key = self._job.id, self._job.attempt, self._key
            make = partial(self._supervisor.keys.create_for_job, job_id=id_, attempt=attempt, sha256=key.sha256)
            self._stored(lambda: make(key.key_id))
            self._key_is_stored = True
        return self._key.text

    def _end_key(self) -> None:
        """Forget the key; one that stays where the database is away is refused all the same, since the attempt ends."""
        if self._key_is_stored:
            with suppress(UnavailableError):
                self._supervisor.keys.end_for_job(self._job.id, attempt=self._job.attempt)

    def _end(self, status: JobStatus, error: JobError | None = None, *, result: JobResult | None = None) -> None:
        id_, attempt = self._job.id, self._job.attempt
        self._stored(lambda: self._jobs.finish(id_, attempt, status, error=error, result=result))

    def _give_back(
        self, reason: str, *, error: JobError | None = None, crash: bool = True, later_s: float = 0.0
    ) -> None:
        id_, attempt = self._job.id, self._job.attempt
        self._stored(lambda: self._jobs.requeue(id_, attempt, reason, error=error, crash=crash, later_s=later_s))

    def _suspend(self, error: JobError) -> None:
        LOGGER.error("%s pauses: %s", self._job.id, error.message)
        self._stored(lambda: self._jobs.suspend(self._job.id, self._job.attempt, error))

    def _train(self, prepared: TrainerJob) -> None:
        folder, home = Path(prepared.attempt_dir), self._settings.home
        job_file = self._supervisor.preparation.artifacts.job_file(prepared.job_id, prepared.attempt)
        with storage_faults(f"write {job_file}"):
            job_file.write_text(prepared.model_dump_json(indent=2), encoding="utf-8")
            command = launched(self._supervisor.trainer_command, parallel=parallel_of(prepared.spec), folder=folder)
        trainer = TrainerProcess(
            command,
            job_file=job_file,
            folder=folder,
            environment=cache_environment(home)
            | {API_KEY: self._api_key(), FORMAT_VARIABLE: self._settings.log_format}
            | {MARK: mark_of(home, job_id=prepared.job_id, attempt=prepared.attempt)}
            | trace_variables(self._settings),
        )
        relay = EventRelay(self._jobs, job_id=self._job.id, attempt=self._job.attempt, path=Path(prepared.events_path))
        self._trainer = trainer
        self._killed_before = self._supervisor.memory_kills()
        try:
            with storage_faults(f"start the trainer in {folder}"):
                trainer.start()
            silence = Silence((Path(prepared.events_path), trainer.log_path))
            ended = self._watch(trainer, relay, silence)
        finally:
            trainer.end()
        self._stored(lambda: _copied(relay))
        self._conclude(ended, relay, trainer, lease_s=prepared.lease_s)

    def _watch(self, trainer: TrainerProcess, relay: EventRelay, silence: Silence) -> _Ended:
        """Follow the trainer until it ends or must end; then end all that it started."""
        stopped: StopReason | None = None
        kill_at_s = 0.0
        while (code := trainer.wait(POLL_S)) is None:
            self._copy(relay)
            if stopped is None:
                stopped = self._why_stop(silence)
                if stopped is not None:
                    LOGGER.info("stopping the trainer of %s: %s", self._job.id, stopped)
                    trainer.terminate()
                    kill_at_s = time.monotonic() + (0.0 if stopped == "lost" else self._settings.cancel_grace_s)
            elif time.monotonic() >= kill_at_s:
                break
        silence_s, left_over = trainer.longest_silence_s, trainer.end()
        code = code if code is not None else -signal.SIGKILL
        return _Ended(stopped=stopped, exit_code=code, silence_s=silence_s, left_over=left_over)

    def _why_stop(self, silence: Silence) -> StopReason | None:
        limit_s, silence_s = self._job.spec.max_runtime_s, self._settings.trainer_silence_s
        if self._heartbeat.lost:
            return "lost"
        if self._heartbeat.cancel_requested:
            return "cancelled"
        if self._heartbeat.pause_requested:
            return "paused"
        if limit_s is not None and self._heartbeat.runtime_s >= limit_s:
            return "max_runtime"
        if self._supervisor.drain.requested:
            return "drain"
        return "hung" if silence_s is not None and silence.seconds() >= silence_s else None

    def _copy(self, relay: EventRelay) -> None:
        try:
            _copied(relay)
        except StaleAttemptError:
            self._heartbeat.lost = True
        except UnavailableError as error:
            LOGGER.warning("events of %s wait: %s", self._job.id, error)

    def _conclude(self, ended: _Ended, relay: EventRelay, trainer: TrainerProcess, *, lease_s: float) -> None:
        id_, attempt = self._job.id, self._job.attempt
        if ended.left_over:
            pids = ", ".join(str(pid) for pid in ended.left_over)
            message = f"processes of the trainer could not be ended: {pids}"
            self._stored(lambda: self._jobs.append_event(id_, attempt, "log", {"level": "warning", "message": message}))
        if ended.stopped == "lost":
            raise StaleAttemptError(f"attempt {attempt} lost {id_} while it trained")
        if ended.stopped == "cancelled":
            self._end("cancelled")
        elif ended.stopped == "paused":
            self._give_back("it was asked to pause", crash=False)
        elif ended.stopped == "max_runtime":
            message = f"max_runtime_s = {self._job.spec.max_runtime_s:g} passed; ask for more, or for less work"
            error = JobError(code="max_runtime", message=message, log_tail=trainer.log_tail())
            self._end("failed", error)
        elif ended.stopped == "drain":
            self._give_back("the worker was asked to end", crash=False)
        elif relay.result is not None and (ended.exit_code == EXIT_SUCCESS or ended.stopped == "hung"):
            self._complete(relay, trainer)  # its result is its last word: what hangs after it has done its work
        elif ended.stopped == "hung":
            message = f"the trainer lived and said nothing for {self._settings.trainer_silence_s:g} s"
            error = JobError(code="trainer_hung", message=message, retryable=True, log_tail=trainer.log_tail())
            self._give_back(message, error=error)
        else:
            self._fail(ended, relay, trainer, lease_s=lease_s)

    def _complete(self, relay: EventRelay, trainer: TrainerProcess) -> None:
        result, evaluation = relay.result, relay.evaluation
        assert result is not None
        try:
            made = self._stored(
                lambda: self._supervisor.completion.register(self._job, result, evaluation),
                patience_s=STORAGE_PATIENCE_S,
            )
        except (InvalidAdapterError, InvalidWeightsError) as error:
            self._end("failed", JobError(code=error.code, message=str(error), log_tail=trainer.log_tail()))
            return
        self._finish(made, cost=result.cost)

    def _finish(self, made: Made, *, cost: dict[str, float]) -> None:
        completion = self._supervisor.completion
        try:
            key = self._api_key()
            result = self._stored(
                lambda: completion.result(self._job, made, cost=cost, keep_on=self._keeps_on, api_key=key)
            )
        except Interrupted:
            self._give_back("its promotion was interrupted", crash=False)
            return
        self._end("succeeded", result=result)
        completion.tidy(self._job)

    def _fail(self, ended: _Ended, relay: EventRelay, trainer: TrainerProcess, *, lease_s: float) -> None:
        killed = (self._supervisor.memory_kills() or 0) - (self._killed_before or 0)
        error = error_of(relay.error, exit_code=ended.exit_code, memory_kills=killed, log_tail=trainer.log_tail())
        if error.code == "disk_full":
            self._suspend(error)
        elif error.retryable:
            # A service that was away for as long as a trainer waits is no fault of the job. Nor is a lease: without a
            # beat that the database took, the trainer ends itself. A launcher hides the code by which its ranks say so.
            away = error.code == "engine_unavailable"
            silent = error.code == "worker_lost" and ended.exit_code > 0 and ended.silence_s >= lease_s
            lost = relay.error is None and (ended.exit_code == EXIT_LEASE_LOST or silent)
            self._give_back(
                error.message, error=error, crash=not (away or lost), later_s=UNFIT_PAUSE_S if away else 0.0
            )
        else:
            self._end("failed", error)

    def _keeps_on(self) -> bool:
        asked = self._heartbeat.cancel_requested or self._heartbeat.pause_requested
        return not (self._supervisor.drain.requested or self._heartbeat.lost or asked)

    def _beat_trainer(self) -> None:
        if self._trainer is not None:
            self._trainer.beat()


def _copied(relay: EventRelay) -> None:
    """Copy what is new; records name the step from here on."""
    relay.copy()
    if relay.step:
        bind(step=relay.step)
