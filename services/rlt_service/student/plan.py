"""Own what has to be scored for a request: sequences, start positions, temperatures. Pure; no engine is called here.

T explanation tokens; the student reads each explanation in its own sequence, the teacher in the teacher's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError, MixedTermsError, PromptTooLongError
from rlt_core.formats import ExplanationPiece
from rlt_core.rewards import RewardWeights
from rlt_core.tokens import EncodedSequence, SequenceCodec
from rlt_service.engine.protocol import AdapterRef, SequenceScoreRequest
from rlt_service.student.entries import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a request asks for, its names resolved."""

    question: str
    solution: str
    entries: Sequence[Entry]
    weights: RewardWeights
    student: AdapterRef | None
    teacher: AdapterRef | None
    teacher_named: bool
    """Whether the teacher's log-probs are to be computed; `teacher` None is then the untrained base."""
    baseline: bool
    each_token: bool
    """Whether the answer lists tokens, so that the explanation's are scored even without a KL term."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSequence:
    """A sequence with its spans, and what the engine is asked of it."""

    sequence: EncodedSequence
    request: SequenceScoreRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedExplanation:
    """How one explanation gets its score."""

    well_formed: bool
    student: PlannedSequence
    teacher: PlannedSequence | None
    """None where the teacher's log-probs are given, or not wanted, or there is no token to score."""
    given_T: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePlan:
    """Everything to score, as one batch of the engine."""

    explanations: tuple[PlannedExplanation, ...]
    baseline: PlannedSequence | None
    with_kl: bool
    each_token: bool
    weights: RewardWeights

    @property
    def requests(self) -> list[SequenceScoreRequest]:
        """The batch: students, then the baseline, then teachers."""
        sequences = [planned.student for planned in self.explanations]
        sequences += [] if self.baseline is None else [self.baseline]
        sequences += [planned.teacher for planned in self.explanations if planned.teacher is not None]
        return [planned.request for planned in sequences]


def make_plan(task: Task, *, codec: SequenceCodec, max_model_len: int) -> ScorePlan:
    """Plan a request.

    Raises MixedTermsError, PromptTooLongError, InvalidRequestError; `param` points at the explanation at fault.
    """
    with_kl = task.teacher_named or _all_given(task.entries)
    temperature = _teacher_temperature(task) if with_kl else None
    planner = _Planner(task=task, codec=codec, max_model_len=max_model_len, with_kl=with_kl)
    return ScorePlan(
        explanations=tuple(
            planner.explanation(entry, index=index, teacher_temperature=temperature)
            for index, entry in enumerate(task.entries)
        ),
        baseline=planner.baseline() if task.baseline else None,
        with_kl=with_kl,
        each_token=task.each_token,
        weights=task.weights,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planner:
    task: Task
    codec: SequenceCodec
    max_model_len: int
    with_kl: bool

    def explanation(self, entry: Entry, *, index: int, teacher_temperature: float | None) -> PlannedExplanation:
        param = f"/explanations/{index}"
        try:
            student = self._student(entry.piece, whole=self.with_kl or self.task.each_token, param=param)
            teacher = None
            if self.task.teacher_named and teacher_temperature is not None:
                teacher = self._teacher(entry.piece, temperature=teacher_temperature, param=param)
        except InvalidRequestError as error:
            # The codec names the segment at fault; here it is one of several explanations.
            if error.param in ("/explanation", "/explanation_rest"):
                error.param = param
            raise
        given_T = None if self.task.teacher_named or entry.given is None else entry.given.logprobs_T
        return PlannedExplanation(well_formed=entry.well_formed, student=student, teacher=teacher, given_T=given_T)

    def baseline(self) -> PlannedSequence:
        return self._student(ExplanationPiece(), whole=False, param="/solution")

    def _student(self, piece: ExplanationPiece, *, whole: bool, param: str) -> PlannedSequence:
        sequence = self.codec.student_sequence(
            question=self.task.question, solution=self.task.solution, explanation=piece
        )
        self._check_length(sequence, reader="student", param=param)
        request = SequenceScoreRequest(
            token_ids=sequence.token_ids,
            start=sequence.explanation.start if whole else sequence.solution.start,
            temperature=self.task.weights.temperature,
            adapter=self.task.student,
        )
        return PlannedSequence(sequence=sequence, request=request)

    def _teacher(self, piece: ExplanationPiece, *, temperature: float, param: str) -> PlannedSequence | None:
        sequence = self.codec.teacher_sequence(
            question=self.task.question, solution=self.task.solution, explanation=piece
        )
        if not len(sequence.explanation):
            return None
        self._check_length(sequence, reader="teacher", param=param)
        request = SequenceScoreRequest(
            token_ids=sequence.token_ids,
            start=sequence.explanation.start,
            temperature=temperature,
            adapter=self.task.teacher,
        )
        return PlannedSequence(sequence=sequence, request=request)

    def _check_length(self, sequence: EncodedSequence, *, reader: str, param: str) -> None:
        tokens = len(sequence.token_ids)
        if tokens > self.max_model_len:
            raise PromptTooLongError(
                f"what the {reader} reads has {tokens} tokens, this engine holds {self.max_model_len}: shorten the "
                "question, the explanation or the solution",
                param=param,
            )


def _all_given(entries: Sequence[Entry]) -> bool:
    """Tell whether the entries bring the teacher's log-probs; raises MixedTermsError where only some do."""
    given = [entry.given is not None for entry in entries]
    if any(given) and not all(given):
        raise MixedTermsError(
            "some explanations have tokens with the teacher's log-probs and some do not, so their rewards would hold "
            "different terms: name a `teacher`, or send two requests",
            param=f"/explanations/{given.index(False)}",
        )
    return all(given)


def _teacher_temperature(task: Task) -> float:
    """Give the one temperature of the teacher's log-probs; raises MixedTermsError where entries differ."""
    temperatures = [
        task.weights.temperature if entry.given is None else entry.given.temperature for entry in task.entries
    ]
    for index, temperature in enumerate(temperatures):
        if temperature != temperatures[0]:
            raise MixedTermsError(
                f"the teacher's log-probs would be at temperature {temperatures[0]} and {temperature}, and scores at "
                "two temperatures cannot be compared: send two requests",
                param=f"/explanations/{index}",
            )
    return temperatures[0]
