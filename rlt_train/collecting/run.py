"""Own the `collect` kind: every question of a dataset explained and scored, in shards, whatever ends it on the way."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlt_core.collected import FOLDER, shard_questions
from rlt_core.errors import ConfigurationError, ModelNotFoundError, RltError
from rlt_core.row_files import open_rows
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.trainer import CollectedEvent, CollectingEvent, TrainerJob
from rlt_core.schemas.training import Splits
from rlt_core.splits import split_rows
from rlt_train.collecting.answers import Answered
from rlt_train.collecting.asking import Asker, Question
from rlt_train.collecting.chat_endpoint import ChatEndpoint
from rlt_train.collecting.keeping import Origin, collected_row, keep, summed
from rlt_train.collecting.outside import OutsideAsker, with_verdicts
from rlt_train.collecting.shards import ShardBody, ShardLog
from rlt_train.collecting.tally import Tally, summed_cost
from rlt_train.errors import InvalidTrainingDataError, RolloutsDroppedError
from rlt_train.lifeline import wait
from rlt_train.math_equality import MathVerify
from rlt_train.patience import Patience
from rlt_train.rolling import rolling
from rlt_train.row_lines import read_row
from rlt_train.service_context import ServiceContext
from rlt_train.services import Services

GONE = "model_not_found"


def run_collect(context: ServiceContext) -> CollectedEvent:
    """Ask for what no earlier attempt has asked for, and tell where all of it lies.

    Raises InvalidTrainingDataError for a dataset without rows or where nothing was kept, RolloutsDroppedError where
    too many questions failed, ModelNotFoundError for a teacher or student that was deleted meanwhile.
    """
    collect = _Collect(context)
    collect.take_up()
    services = context.connect()
    at_once = 1 if services.calls_at_once == 1 else collect.spec.questions_at_once
    ask = _asker(context, collect, services)
    try:
        for answered in rolling(collect.questions(), ask, at_once=at_once, stop=context.stop):
            collect.take(answered)
    except RltError as error:
        if error.code == GONE:
            raise ModelNotFoundError(
                f"{error}: it was there when this job began, and it is needed for every question; "
                f"{collect.tally.done} of {collect.tally.total} were done, and stay readable as this job's output"
            ) from error
        raise
    return collect.whole()


def _asker(context: ServiceContext, collect: "_Collect", services: Services) -> Callable[[Question], Answered]:
    spec, origin = collect.spec, collect.origin
    if spec.source is None:
        asker = Asker(
            services=services,
            spec=spec,
            teacher=origin.teacher,
            student=origin.student,
            format_id=origin.format,
        )
        return asker.ask
    job = context.job
    key = None if job.source_key_env is None else os.environ.get(job.source_key_env)
    if job.source_key_env is not None and not key:
        raise ConfigurationError(f"{job.source_key_env}, the key of {spec.source.name}, is not set on this worker")
    outside = OutsideAsker(
        services=services,
        endpoint=ChatEndpoint(job.source_url, key=key),
        patience=Patience(
            report=lambda message: context.events.log(message, level="warning"),
            sleep=lambda seconds: wait(seconds, stop=context.stop),
        ),
        spec=spec,
        source=spec.source,
        student=origin.student,
        format_id=origin.format,
        engine=spec.source.name,
    )
    return outside.ask


@dataclass(slots=True)
class _Shard:
    """Questions of a shard that is not whole yet."""

    rows: dict[int, DatasetRow] = field(default_factory=dict[int, DatasetRow])
    answered: dict[int, Answered] = field(default_factory=dict[int, Answered])
    size: int = 0
    """Questions that it will have."""


class _Collect:
    """The state of one attempt; a shard or two of rows are in memory, whatever the dataset's size."""

    def __init__(self, context: ServiceContext) -> None:
        job = context.job
        self.spec = _spec(context)
        self.origin = Origin(
            job=job.job_id,
            teacher=str(job.teacher_version),
            student=str(job.student_version),
            format=job.format_id,
        )
        self._context = context
        self._dataset = Path(job.dataset_path)
        self._chosen = _chosen(job, self.spec)
        total = _lines(self._dataset) if self._chosen is None else len(self._chosen)
        if not total:
            raise InvalidTrainingDataError("the dataset has no rows: there is nothing to explain", param="/dataset")
        self.tally = Tally(total=total)
        self._shard_size = shard_questions(total)
        self._earlier = [Path(folder).with_name(FOLDER) for folder in job.journal_dirs]
        self._folder = context.attempt_dir / FOLDER
        self._log = ShardLog(self._folder, job_id=job.job_id, teacher=self.origin.teacher, student=self.origin.student)
        self._whole: set[int] = set()
        self._noted: dict[int, Answered] = {}
        self._open: dict[int, _Shard] = {}
        self._marked_s = 0.0
        by_math = self.spec.source is not None and self.spec.source.verdict == "math_verify"
        self._equal = MathVerify() if by_math else None

    def take_up(self) -> None:
        """Find what earlier attempts have done, and tell how much it is."""
        for head in self._log.take_up(self._earlier, report=self._report):
            self.tally.add(head)
            self._whole.add(head.shard)
            self.tally.done += head.questions
        notes = self._log.notes(self._earlier)
        self._noted = {at: found for at, found in notes.items() if at // self._shard_size not in self._whole}
        self._context.events.emit(
            CollectingEvent(
                questions=self.tally.done + len(self._noted), rows=self.tally.counts["rows"], total=self.tally.total
            )
        )
        self.tally.begin()
        self._marked_s = time.monotonic()

    def questions(self) -> Iterator[Question]:
        """Give the questions that are left, in the dataset's order; those that were noted go into their shards."""
        for position, row in self._rows():
            shard = position // self._shard_size
            opened = self._open.setdefault(shard, _Shard(size=self._size_of(shard)))
            opened.rows[position] = row
            noted = self._noted.pop(position, None)
            if noted is not None and noted.row_id == row.id:
                self.take(noted)
            else:
                yield Question(position=position, row=row)

    def _rows(self) -> Iterator[tuple[int, DatasetRow]]:
        """Give the rows of shards that are not whole, with their places among those that are explained."""
        if self._chosen is not None:
            for position in range(len(self._chosen)):
                if position // self._shard_size not in self._whole:
                    yield position, self._chosen[position]
            return
        with self._dataset.open(encoding="utf-8") as lines:
            for position, line in enumerate(lines):
                if position // self._shard_size not in self._whole:
                    yield position, read_row(line, number=position + 1)

    def take(self, answered: Answered) -> None:
        """Note an answer; finish its shard where it is the last."""
        number = answered.position // self._shard_size
        shard = self._open[number]
        if self.spec.source is not None and not any(sample.right is not None for sample in answered.samples):
            row = shard.rows[answered.position]
            answered = with_verdicts(answered, row, source=self.spec.source, equal=self._equal)
        shard.answered[answered.position] = answered
        self._log.note(answered, shard=number)
        self.tally.done += 1
        if len(shard.answered) == shard.size:
            self._finish(number, self._open.pop(number))
        self._tell()

    def whole(self) -> CollectedEvent:
        """Tell of the end; raises InvalidTrainingDataError where nothing was kept."""
        self._tell(last=True)
        if not self.tally.counts["rows"]:
            raise InvalidTrainingDataError(
                f"nothing was kept, so that there is no dataset: {self.tally.said()}; ask for other samples, or drop "
                "less"
            )
        return CollectedEvent(
            path=str(self._folder),
            rows=self.tally.counts["rows"],
            columns=self.tally.columns,
            counts=self.tally.counts,
            skipped=self.tally.skipped,
            cost=self.tally.cost,
        )

    def _finish(self, number: int, shard: _Shard) -> None:
        answers = [shard.answered[position] for position in sorted(shard.answered)]
        kept = [(answered, keep(answered, spec=self.spec)) for answered in answers]
        now_s = time.monotonic()
        cost = summed_cost([answered.spent.model_dump() for answered in answers]) | {"total_s": now_s - self._marked_s}
        self._marked_s = now_s
        counts: dict[str, int] = {}
        for _, each in kept:
            for name, count in each.counts.items():
                counts[name] = counts.get(name, 0) + count
        head = self._log.finish(
            number,
            ShardBody(
                rows=[
                    collected_row(shard.rows[answered.position], answered, sample, spec=self.spec, origin=self.origin)
                    for answered, each in kept
                    for sample in each.samples
                ],
                counts=counts,
                sums=summed([sample for answered in answers for sample in answered.samples]),
                cost=cost,
                answered=answers,
            ),
        )
        self._whole.add(number)
        self.tally.add(head)
        self._check_failures()

    def _check_failures(self) -> None:
        failed, allowed = self.tally.counts["failed"], self.spec.max_failed * self.tally.total
        if failed > allowed:
            last = next((row for row in reversed(self.tally.skipped) if row.reason == "failed"), None)
            raise RolloutsDroppedError(
                f"the calls of {failed} questions failed for good, and of {self.tally.total} at most {allowed:.0f} may "
                f"(max_failed); one of them: {last.row + ': ' + last.message if last is not None else ''}"
            )

    def _size_of(self, shard: int) -> int:
        return min(self._shard_size, self.tally.total - shard * self._shard_size)

    def _tell(self, *, last: bool = False) -> None:
        if (told := self.tally.progress(last=last)) is not None:
            self._context.events.emit(told)

    def _report(self, message: str) -> None:
        self._context.events.log(message, level="warning")


def _spec(context: ServiceContext) -> CollectSpec:
    job = context.job
    if not isinstance(job.spec, CollectSpec):
        raise ConfigurationError(f"a {job.spec.kind} spec was handed to collect")
    if job.teacher_version is None or job.student_version is None or not job.base_url:
        raise ConfigurationError("a collect job needs teacher_version, student_version and base_url")
    return job.spec


def _chosen(job: TrainerJob, spec: CollectSpec) -> Sequence[DatasetRow] | None:
    """Give the rows that no split holds out, read when they are asked for; None for all, which are a stream."""
    if spec.splits == Splits():
        return None
    held_out = {name: open_rows(Path(path), read=read_row) for name, path in job.split_paths.items()}
    rows = open_rows(Path(job.dataset_path), read=read_row)
    return split_rows(rows, splits=spec.splits, seed=spec.seed, held_out=held_out).train


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
