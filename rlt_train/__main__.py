"""Own the trainer process: `python -m rlt_train --job JOB.json` runs one attempt at one job and says how it ended."""

import argparse
import errno
import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rlt_core import log_records
from rlt_core.errors import RltError
from rlt_core.job_errors import job_code
from rlt_core.log_records import FORMAT_VARIABLE, PrintedLines, bound
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.trainer import (
    EXIT_DISK_FULL,
    EXIT_FAILURE,
    EXIT_STOPPED,
    EXIT_SUCCESS,
    ErrorEvent,
    TrainerJob,
)
from rlt_train.errors import StopRequested
from rlt_train.events import EventWriter, SilentWriter
from rlt_train.lifeline import StopFlag, die_with_parent, leave_at_once, watch_beats
from rlt_train.ranks import check_ranks, first_to_break, own_rank

if TYPE_CHECKING:
    from rlt_train.metering import Meter
    from rlt_train.services import PatientServices

LOGGER = logging.getLogger("rlt_train")

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_NO_RIGHT = frozenset({errno.EACCES, errno.EPERM})
_LITTLE_ROOM_BYTES = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Run the attempt; 0 only after a result event, 75 when the lease was lost, 143 when it was asked to stop.

    Of several ranks the first speaks; of those that break, the one that broke first.
    """
    arguments = _arguments(argv)
    job = TrainerJob.model_validate_json(arguments.job.read_text(encoding="utf-8"))
    stop = StopFlag()
    stop.on_sigterm()
    # Watched before torch is imported: that alone can take longer than a short lease.
    if not arguments.no_watch:
        die_with_parent()
        watch_beats(sys.stdin.fileno(), lease_s=job.lease_s, on_lost=leave_at_once)
    rank = own_rank()
    events = (EventWriter if rank.is_first else SilentWriter)(Path(job.events_path))
    try:
        with bound(job=job.job_id, attempt=job.attempt):
            _run(job, events=events, stop=stop)
    except StopRequested:
        return EXIT_STOPPED
    except Exception as error:  # the task's boundary: whatever broke becomes the job's error
        with bound(job=job.job_id, attempt=job.attempt):
            LOGGER.exception("attempt %d of %s broke", job.attempt, job.job_id)
        said = error_event(error, folder=Path(job.attempt_dir))
        try:
            if first_to_break(Path(job.attempt_dir), rank=rank):
                EventWriter(Path(job.events_path)).emit(said)
        except OSError:  # the events lie on the same disk
            LOGGER.exception("the events cannot be written either")
            return EXIT_DISK_FULL
        return EXIT_FAILURE
    return EXIT_SUCCESS


def run() -> int:
    """Run the attempt that the command line names, and log as its environment says."""
    keep_to_itself()
    form = os.environ.get(FORMAT_VARIABLE, "text")
    log_records.set_up(form, level=logging.WARNING)  # libraries tell of every call
    logging.getLogger("rlt_train").setLevel(logging.INFO)
    if form == "json":
        printed = logging.getLogger("rlt_train.printed")
        sys.stdout, sys.stderr = PrintedLines(printed), PrintedLines(printed)
    return main()


def keep_to_itself() -> None:
    """Have libraries send nothing about a training to anybody: TRL tells the hub, unless it is told not to.

    Read when huggingface_hub is imported, so before everything that needs models. What the user has set stays.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def error_event(error: Exception, *, folder: Path) -> ErrorEvent:
    """Name what broke by a stable code, and tell whether another attempt could help; `folder` is where it wrote."""
    if isinstance(error, RltError):
        code = job_code(error.code, status=error.status)
        return ErrorEvent(code=code, message=str(error), retryable=error.retryable or code == "engine_unavailable")
    message = f"{type(error).__name__}: {error}"
    if disk_is_full(error, folder=folder):
        return ErrorEvent(code="disk_full", message=message, retryable=True)
    # The first is an accelerator's word, the second that of torch's allocator on CPUs.
    said = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said:
        return ErrorEvent(code="out_of_memory", message=message, retryable=False)
    return ErrorEvent(code="trainer_failed", message=message, retryable=False)


def disk_is_full(error: BaseException, *, folder: Path) -> bool:
    """Tell whether a write failed for want of room, or since it may not write at all.

    safetensors and torch raise errors of their own there, some of which do not say why: then the folder is looked at.
    A file elsewhere that may not be read is none of this.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _NO_ROOM:
            return True
        if any(os.strerror(number) in str(seen) for number in _NO_ROOM):
            return True
        if isinstance(seen, OSError) and seen.errno in _NO_RIGHT and _lies_in(folder, seen.filename):
            return True
        if isinstance(seen, RuntimeError) and "PytorchStreamWriter" in str(seen):
            return _takes_nothing(folder)
        seen = seen.__cause__ or seen.__context__
    return False


def _lies_in(folder: Path, name: object) -> bool:
    return isinstance(name, str | os.PathLike) and Path(name).is_relative_to(folder)


def _takes_nothing(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < _LITTLE_ROOM_BYTES or not os.access(folder, os.W_OK)


def _run(job: TrainerJob, *, events: EventWriter, stop: StopFlag) -> None:
    if isinstance(job.spec, CollectSpec | EvaluateSpec):
        _run_with_services(job, events=events, stop=stop)
        return
    check_ranks(job.spec.parallel, rank=own_rank())
    from rlt_tokens import load_codec
    from rlt_train.context import JobContext
    from rlt_train.kinds import KINDS
    from rlt_train.metering import Meter
    from rlt_train.models import use_all_cores

    format_id = job.format_id.partition("+")[0]  # what follows says how the template was used, and is checked below
    codec = load_codec(Path(job.base_model_dir), format_id=format_id)
    meter, began_s = Meter(), time.monotonic()
    connect = partial(_connect, job, events=events, stop=stop, meter=meter)
    context = JobContext(job=job, events=events, stop=stop, codec=codec, connect=connect)
    context.check_format()
    use_all_cores()
    result = KINDS[job.kind](context)
    counted = {"total_s": time.monotonic() - began_s} | meter.tokens
    events.emit(result.model_copy(update={"cost": counted | result.cost}))


def _run_with_services(job: TrainerJob, *, events: EventWriter, stop: StopFlag) -> None:
    """Run a kind that holds no model: torch is never imported."""
    from rlt_train.service_context import ServiceContext
    from rlt_train.service_kinds import SERVICE_KINDS

    connect = partial(_connect, job, events=events, stop=stop)
    events.emit(SERVICE_KINDS[job.kind](ServiceContext(job=job, events=events, stop=stop, connect=connect)))


def _connect(
    job: TrainerJob, *, events: EventWriter, stop: StopFlag, meter: "Meter | None" = None
) -> "PatientServices":
    """Reach the services; `meter` counts what they are asked for."""
    from rlt_client import Client
    from rlt_train.lifeline import wait
    from rlt_train.metering import MeteredServices
    from rlt_train.patience import Patience
    from rlt_train.services import HttpServices, PatientServices, Services

    patience = Patience(
        report=lambda message: events.log(message, level="warning"),
        sleep=lambda seconds: wait(seconds, stop=stop),
    )
    # No retries of the client's own: PatientServices has the patience, and says so in the job's log.
    services: Services = HttpServices(
        Client(base_url=job.base_url, flow=job.job_id, max_retries=0), job_id=job.job_id, attempt=job.attempt
    )
    if meter is not None:
        services = MeteredServices(services, meter=meter)
    return PatientServices(services, patience=patience, stop=stop)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rlt_train", description="Run one attempt at one training job.")
    parser.add_argument("--job", type=Path, required=True, help="the job file that the supervisor wrote")
    parser.add_argument(
        "--no-watch", action="store_true", help="do not end when stdin falls silent (for running by hand)"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run())
