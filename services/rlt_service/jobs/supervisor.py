"""Own one attempt at one job, from the claim to its end. Knows processes and rows, no torch."""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rlt_core.errors import InvalidAdapterError, RltError, StaleAttemptError, UnavailableError
from rlt_core.schemas.jobs import Job, JobError
from rlt_core.schemas.teachers import ModelVersion
from rlt_core.schemas.trainer import EXIT_SUCCESS, TrainerJob
from rlt_service.caches import cache_environment
from rlt_service.jobs.completion import Completion
from rlt_service.jobs.heartbeat import Heartbeat
from rlt_service.jobs.preparation import Preparation
from rlt_service.jobs.promotion import Interrupted
from rlt_service.jobs.relay import EventRelay
from rlt_service.jobs.trainer_process import TrainerProcess
from rlt_service.settings import Settings
from rlt_service.store.jobs import ClaimedJob, JobStore

LOGGER = logging.getLogger(__name__)

POLL_S = 0.1
"""Longest time in which a cancellation, a drain or an ended trainer is not noticed."""

StopReason = Literal["cancelled", "max_runtime", "drain", "lost"]


@dataclass(slots=True)
class Drain:
    """Whether this worker was asked to end. A plain flag: it is set in a signal handler, where a lock could hang."""

    requested: bool = field(default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How a trainer's run ended."""

    stopped: StopReason | None
    exit_code: int
    left_over: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """Runs claimed jobs, one at a time, in the thread that calls it (the main one)."""

    settings: Settings
    jobs: JobStore
    preparation: Preparation
    completion: Completion
    resolve_base: Callable[[], Path]
    """Returns the base model's folder; may convert a builtin."""
    trainer_command: Sequence[str]
    drain: Drain

    def run(self, claimed: ClaimedJob) -> None:
        """Bring one attempt to its end; whatever happens, the row says so or another worker will."""
        attempt = _Attempt(self, claimed.job)
        try:
            attempt.run()
        except StaleAttemptError as error:
            LOGGER.warning("gave up %s: %s", claimed.job.id, error)
        except UnavailableError as error:
            LOGGER.error("could not store the end of %s, its lease will run out: %s", claimed.job.id, error)
        except Exception as error:  # the task's boundary: a fault of ours must not leave the job running for ever
            LOGGER.exception("attempt %d of %s broke", claimed.attempt, claimed.job.id)
            attempt.give_back(f"the supervisor broke: {type(error).__name__}: {error}")


class _Attempt:
    """The state of one attempt while it runs."""

    def __init__(self, supervisor: Supervisor, job: Job) -> None:
        self._supervisor = supervisor
        self._settings = supervisor.settings
        self._jobs = supervisor.jobs
        self._job = job
        self._trainer: TrainerProcess | None = None
        self._heartbeat = Heartbeat(
            supervisor.jobs,
            job_id=job.id,
            attempt=job.attempt,
            period_s=supervisor.settings.heartbeat_s,
            on_beat=self._beat_trainer,
        )

    def run(self) -> None:
        """Prepare, train, complete; the heartbeat goes on all along."""
        self._heartbeat.start()
        try:
            if self._heartbeat.lost:
                raise StaleAttemptError(f"attempt {self._job.attempt} lost {self._job.id} before it began")
            made = self._supervisor.completion.registry.version_of_job(self._job.id)
            if made is not None:
                # An earlier attempt registered the result and died before it could say so.
                self._finish(made, cost={})
                return
            try:
                prepared = self._supervisor.preparation.prepare(self._job, base_dir=self._supervisor.resolve_base())
            except (RltError, OSError) as error:
                self._refuse(error)
                return
            self._train(prepared)
        finally:
            self._heartbeat.stop()

    def give_back(self, reason: str) -> None:
        """Return the job to the queue after a fault of the supervisor itself."""
        try:
            self._jobs.requeue(self._job.id, self._job.attempt, reason)
        except RltError as error:
            LOGGER.error("could not give %s back, its lease will run out: %s", self._job.id, error)

    def _refuse(self, error: RltError | OSError) -> None:
        if isinstance(error, UnavailableError | OSError):
            raise error
        LOGGER.warning("%s cannot run: %s", self._job.id, error)
        self._jobs.finish(self._job.id, self._job.attempt, "failed", error=JobError(code="invalid", message=str(error)))

    def _train(self, prepared: TrainerJob) -> None:
        folder = Path(prepared.attempt_dir)
        job_file = self._supervisor.preparation.artifacts.job_file(prepared.job_id, prepared.attempt)
        job_file.write_text(prepared.model_dump_json(indent=2), encoding="utf-8")
        trainer = TrainerProcess(
            self._supervisor.trainer_command,
            job_file=job_file,
            folder=folder,
            environment=cache_environment(self._settings.home),
        )
        relay = EventRelay(self._jobs, job_id=self._job.id, attempt=self._job.attempt, path=Path(prepared.events_path))
        self._trainer = trainer
        try:
            trainer.start()
            ended = self._watch(trainer, relay)
        finally:
            trainer.end()
        relay.copy()
        self._conclude(ended, relay, trainer)

    def _watch(self, trainer: TrainerProcess, relay: EventRelay) -> _Ended:
        """Follow the trainer until it ends or must end; then end all that it started."""
        began_s = time.monotonic()
        stopped: StopReason | None = None
        kill_at_s = 0.0
        while (code := trainer.wait(POLL_S)) is None:
            self._copy(relay)
            if stopped is None:
                stopped = self._why_stop(runtime_s=time.monotonic() - began_s)
                if stopped is not None:
                    LOGGER.info("stopping the trainer of %s: %s", self._job.id, stopped)
                    trainer.terminate()
                    kill_at_s = time.monotonic() + (0.0 if stopped == "lost" else self._settings.cancel_grace_s)
            elif time.monotonic() >= kill_at_s:
                break
        left_over = trainer.end()
        return _Ended(stopped=stopped, exit_code=code if code is not None else -signal.SIGKILL, left_over=left_over)

    def _why_stop(self, *, runtime_s: float) -> StopReason | None:
        limit_s = self._job.spec.max_runtime_s
        if self._heartbeat.lost:
            return "lost"
        if self._heartbeat.cancel_requested:
            return "cancelled"
        if limit_s is not None and runtime_s >= limit_s:
            return "max_runtime"
        return "drain" if self._supervisor.drain.requested else None

    def _copy(self, relay: EventRelay) -> None:
        try:
            relay.copy()
        except StaleAttemptError:
            self._heartbeat.lost = True
        except UnavailableError as error:
            LOGGER.warning("events of %s wait: %s", self._job.id, error)

    def _conclude(self, ended: _Ended, relay: EventRelay, trainer: TrainerProcess) -> None:
        id_, attempt = self._job.id, self._job.attempt
        if ended.left_over:
            pids = ", ".join(str(pid) for pid in ended.left_over)
            message = f"processes of the trainer could not be ended: {pids}"
            self._jobs.append_event(id_, attempt, "log", {"level": "warning", "message": message})
        if ended.stopped == "lost":
            raise StaleAttemptError(f"attempt {attempt} lost {id_} while it trained")
        if ended.stopped == "cancelled":
            self._jobs.finish(id_, attempt, "cancelled")
        elif ended.stopped == "max_runtime":
            message = f"max_runtime_s = {self._job.spec.max_runtime_s:g} passed; ask for more, or for less work"
            error = JobError(code="max_runtime", message=message, log_tail=trainer.log_tail())
            self._jobs.finish(id_, attempt, "failed", error=error)
        elif ended.stopped == "drain":
            self._jobs.requeue(id_, attempt, "the worker was asked to end", crash=False)
        elif ended.exit_code == EXIT_SUCCESS and relay.result is not None:
            self._complete(relay)
        else:
            self._fail(ended.exit_code, relay, trainer)

    def _complete(self, relay: EventRelay) -> None:
        assert relay.result is not None
        try:
            made = self._supervisor.completion.register(self._job, relay.result, relay.evaluation)
        except InvalidAdapterError as error:
            self._jobs.finish(
                self._job.id, self._job.attempt, "failed", error=JobError(code=error.code, message=str(error))
            )
            return
        self._finish(made, cost=relay.result.cost)

    def _finish(self, made: ModelVersion, *, cost: dict[str, float]) -> None:
        completion = self._supervisor.completion
        try:
            result = completion.result(self._job, made, cost=cost, keep_on=self._keeps_on)
        except Interrupted:
            self._jobs.requeue(self._job.id, self._job.attempt, "the worker was asked to end", crash=False)
            return
        self._jobs.finish(self._job.id, self._job.attempt, "succeeded", result=result)
        completion.registry.collect_rollouts(self._job.id)

    def _fail(self, exit_code: int, relay: EventRelay, trainer: TrainerProcess) -> None:
        id_, attempt, tail = self._job.id, self._job.attempt, trainer.log_tail()
        if relay.error is None:
            reason = f"the trainer ended without a result ({_ending(exit_code)})"
            error = JobError(code="worker_lost", message=reason, retryable=True, log_tail=tail)
            self._jobs.requeue(id_, attempt, reason, error=error)
            return
        said = relay.error
        error = JobError(code=said.code, message=said.message, retryable=said.retryable, log_tail=tail)
        if said.code == "disk_full":
            self._jobs.suspend(id_, attempt, error)
        elif said.retryable:
            self._jobs.requeue(id_, attempt, said.message, error=error)
        else:
            self._jobs.finish(id_, attempt, "failed", error=error)

    def _keeps_on(self) -> bool:
        return not (self._supervisor.drain.requested or self._heartbeat.lost or self._heartbeat.cancel_requested)

    def _beat_trainer(self) -> None:
        if self._trainer is not None:
            self._trainer.beat()


def _ending(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
