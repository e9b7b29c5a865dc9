"""Own the `evaluate` kind: every question of a dataset put to every version, each answer noted when it has come."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from rlt_core.errors import ConfigurationError
from rlt_core.measured_rows import FOLDER, MeasuredQuestion, file_name, read_questions
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.trainer import EvaluatedEvent, ProgressEvent
from rlt_core.verdicts import MathEquality
from rlt_train.collecting.asking import Question
from rlt_train.collecting.tally import TELL_EVERY_S, summed_cost
from rlt_train.errors import InvalidTrainingDataError, RolloutMismatchError
from rlt_train.evaluating.explaining import explaining_asker, measured
from rlt_train.evaluating.solving import SolvingAsker, judged
from rlt_train.math_equality import MathVerify
from rlt_train.rolling import rolling
from rlt_train.row_lines import read_row
from rlt_train.service_context import ServiceContext
from rlt_train.services import Services


def run_evaluate(context: ServiceContext, *, equal: MathEquality | None = None) -> EvaluatedEvent:
    """Put the questions that no earlier attempt has put, and tell where all answers lie.

    `equal` compares mathematics; null is math-verify, where the spec asks for it. Raises InvalidTrainingDataError for a
    question that cannot be asked, ConfigurationError where math-verify is not installed.
    """
    spec = _spec(context)
    if equal is None and spec.role == "student" and spec.verdict == "math_verify":
        equal = MathVerify()  # before anything is asked
    services, course = context.connect(), _Course(context, spec=spec)
    for place, version in enumerate(context.job.measured_versions):
        _measure(context, services, spec=spec, equal=equal, course=course, place=place, version=version)
    course.tell(last=True)
    return EvaluatedEvent(
        path=str(context.attempt_dir / FOLDER),
        models=context.job.measured_versions,
        student=context.job.student_version if spec.role == "teacher" else None,
        format=context.job.format_id,
        questions=course.questions,
        cost=summed_cost(course.spent) | {"total_s": time.monotonic() - course.began_s},
    )


@dataclass(slots=True)
class _Course:
    """How far an attempt is, over all versions."""

    context: ServiceContext
    spec: EvaluateSpec
    began_s: float = field(default_factory=time.monotonic)
    spent: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    engine: str | None = None
    done: int = 0
    fresh: int = 0
    right: int = 0
    answers: int = 0
    _told_s: float = 0.0
    questions: int = 0

    def __post_init__(self) -> None:
        with Path(self.context.job.dataset_path).open("rb") as lines:
            self.questions = sum(1 for _ in lines)
        if not self.questions:
            raise InvalidTrainingDataError("the dataset has no rows: there is nothing to ask", param="/dataset")

    def add(self, found: MeasuredQuestion, *, fresh: bool) -> None:
        """Count a question; raises RolloutMismatchError where another engine answered it than those before."""
        if self.engine not in (None, found.engine):
            raise RolloutMismatchError(
                f"question {found.question_id!r} was answered by the engine {found.engine!r}, others by "
                f"{self.engine!r}: figures would be of both"
            )
        self.engine = found.engine
        self.done, self.fresh = self.done + 1, self.fresh + fresh
        self.right += sum(row.right for row in found.answers)
        self.answers += len(found.answers)
        self.spent.append(found.spent)
        self.tell()

    def tell(self, *, last: bool = False) -> None:
        """Say how far it is, at most once a second, and at the end once more."""
        now_s = time.monotonic()
        if not last and now_s - self._told_s < TELL_EVERY_S:
            return
        self._told_s = now_s
        total = self.questions * len(self.context.job.measured_versions)
        speed = self.fresh / max(now_s - self.began_s, 1e-9)
        share = {"right_share": self.right / self.answers} if self.answers else {}
        self.context.events.emit(
            ProgressEvent(
                step=self.done,
                total=total,
                eta_s=(total - self.done) / speed if speed > 0.0 else None,
                metrics={"questions_per_s": speed} | share,
            )
        )


def _measure(
    context: ServiceContext,
    services: Services,
    *,
    spec: EvaluateSpec,
    equal: MathEquality | None,
    course: _Course,
    place: int,
    version: str,
) -> None:
    """Put to one version what it has not answered, and write all of its answers to this attempt's folder."""
    ask = _asking(context, services, spec=spec, equal=equal, version=version)
    folder = context.attempt_dir / FOLDER
    folder.mkdir(exist_ok=True)
    known = _earlier(context, place=place, version=version)
    at_once = 1 if services.calls_at_once == 1 else spec.questions_at_once
    with (folder / file_name(place)).open("wb") as file:

        def left() -> Iterator[Question]:
            for question in _questions(Path(context.job.dataset_path)):
                noted = known.get(question.position)
                if noted is not None and noted.question_id == question.row.id:
                    _note(file, noted)
                    course.add(noted, fresh=False)
                else:
                    yield question

        # What comes back is judged here, in the main thread: only there can the time that it takes be bounded.
        for finish in rolling(left(), ask, at_once=at_once, stop=context.stop):
            found = finish()
            _note(file, found)
            course.add(found, fresh=True)


def _asking(
    context: ServiceContext, services: Services, *, spec: EvaluateSpec, equal: MathEquality | None, version: str
) -> Callable[[Question], Callable[[], MeasuredQuestion]]:
    """Make what asks a question, in any thread, and gives what is left to do, in the main one."""
    format_id = context.job.format_id
    if spec.role == "student":
        solving = SolvingAsker(services=services, spec=spec, version=version, format_id=format_id)
        return lambda question: partial(judged, solving.ask(question), spec=spec, equal=equal)
    student = str(context.job.student_version)
    explaining = explaining_asker(services, spec=spec, version=version, student=student, format_id=format_id)
    return lambda question: partial(measured, question, explaining.ask(question), version=version)


def _earlier(context: ServiceContext, *, place: int, version: str) -> dict[int, MeasuredQuestion]:
    """Read what earlier attempts have noted of a version, by its place in the dataset."""
    found: dict[int, MeasuredQuestion] = {}
    for journal in reversed(context.job.journal_dirs):
        for noted in read_questions(Path(journal).with_name(FOLDER) / file_name(place)):
            if noted.version == version:
                found[noted.position] = noted
    return found


def _questions(path: Path) -> Iterator[Question]:
    with path.open(encoding="utf-8") as lines:
        for position, line in enumerate(lines):
            yield Question(position=position, row=read_row(line, number=position + 1))


def _note(file: BinaryIO, found: MeasuredQuestion) -> None:
    """Write a question whole; a line that is cut off is asked again by the next attempt."""
    file.write(found.model_dump_json().encode() + b"\n")
    file.flush()


def _spec(context: ServiceContext) -> EvaluateSpec:
    job = context.job
    if not isinstance(job.spec, EvaluateSpec):
        raise ConfigurationError(f"a {job.spec.kind} spec was handed to evaluate")
    judge_missing = job.spec.role == "teacher" and job.student_version is None
    if not job.measured_versions or judge_missing or not job.base_url:
        raise ConfigurationError("an evaluate job needs measured_versions, base_url and, for teachers, student_version")
    return job.spec
