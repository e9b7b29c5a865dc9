"""Own what has to be scored for a request: sequences, start positions, temperatures. Pure; no engine is called here.

T explanation tokens; the student reads each explanation in its own sequence, the teacher in the teacher's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rlt_core.alignment import CommonPieces, common_pieces
from rlt_core.errors import InvalidRequestError, MixedTermsError, PromptTooLongError
from rlt_core.formats import ExplanationPiece
from rlt_core.rewards import RewardWeights
from rlt_core.tokens import EncodedSequence, SequenceCodec
from rlt_service.engine.protocol import AdapterRef, SequenceScoreRequest
from rlt_service.student.entries import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who reads: a version, the tokenizer of its engine, and how long a sequence that holds."""

    adapter: AdapterRef | None
    """None is the untrained base."""
    codec: SequenceCodec
    max_model_len: int
    cache_salt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a request asks for, its names resolved."""

    question: str
    solution: str
    entries: Sequence[Entry]
    weights: RewardWeights
    student: Reader
    teacher: Reader | None
    """None where the teacher's log-probs are not to be computed."""
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
    aligned: CommonPieces | None
    """Where teacher and student cut the explanation alike; None where their tokens are the same ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePlan:
    """Everything to score."""

    explanations: tuple[PlannedExplanation, ...]
    baseline: PlannedSequence | None
    with_kl: bool
    each_token: bool
    weights: RewardWeights

    @property
    def student_requests(self) -> list[SequenceScoreRequest]:
        """What the student's engine is asked: the explanations, then the baseline."""
        sequences = [planned.student for planned in self.explanations]
        sequences += [] if self.baseline is None else [self.baseline]
        return [planned.request for planned in sequences]

    @property
    def teacher_requests(self) -> list[SequenceScoreRequest]:
        """What the teacher's engine is asked."""
        return [planned.teacher.request for planned in self.explanations if planned.teacher is not None]

    @property
    def requests(self) -> list[SequenceScoreRequest]:
        """All, in the order of their results: the student's, then the teacher's."""
        return self.student_requests + self.teacher_requests


def make_plan(task: Task) -> ScorePlan:
    """Plan a request.

    Raises MixedTermsError, PromptTooLongError, InvalidRequestError; `param` points at the explanation at fault.
    """
    with_kl = task.teacher is not None or _all_given(task.entries)
    temperature = _teacher_temperature(task) if with_kl else None
    planner = _Planner(task=task, with_kl=with_kl)
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
    with_kl: bool

    def explanation(self, entry: Entry, *, index: int, teacher_temperature: float | None) -> PlannedExplanation:
        param, named = f"/explanations/{index}", self.task.teacher
        try:
            student = self._student(self._for_student(entry), whole=self.with_kl or self.task.each_token, param=param)
            teacher = None
            if named is not None and teacher_temperature is not None:
                teacher = self._teacher(entry.piece, named, temperature=teacher_temperature, param=param)
        except InvalidRequestError as error:
            # The codec names the segment at fault; here it is one of several explanations.
            if error.param in ("/explanation", "/explanation_rest"):
                error.param = param
            raise
        return PlannedExplanation(
            well_formed=entry.well_formed,
            student=student,
            teacher=teacher,
            given_T=None if named is not None or entry.given is None else entry.given.logprobs_T,
            aligned=self._aligned(entry, student=student, teacher=teacher) if self.with_kl else None,
        )

    def baseline(self) -> PlannedSequence:
        return self._student(ExplanationPiece(), whole=False, param="/solution")

    def _for_student(self, entry: Entry) -> ExplanationPiece:
        """Give the ids as generated where they are the student's own, else the text, in its own tokens."""
        if entry.codec is None or entry.codec.fingerprint == self.task.student.codec.fingerprint:
            return entry.piece
        return ExplanationPiece(text=entry.piece.text)

    def _aligned(
        self, entry: Entry, *, student: PlannedSequence, teacher: PlannedSequence | None
    ) -> CommonPieces | None:
        """Find where the tokens that carry the teacher's log-probs and the student's own begin and end alike."""
        reader = self.task.student.codec
        writer = entry.codec if self.task.teacher is None else self.task.teacher.codec
        if writer is None or writer.fingerprint == reader.fingerprint:
            return None
        ids = entry.piece.token_ids or () if teacher is None else _explanation_ids(teacher.sequence)
        return common_pieces(
            teacher=writer.token_pieces(ids),
            student=reader.token_pieces(_explanation_ids(student.sequence)),
            rest=entry.piece.rest.encode(),
        )

    def _student(self, piece: ExplanationPiece, *, whole: bool, param: str) -> PlannedSequence:
        reader = self.task.student
        sequence = reader.codec.student_sequence(
            question=self.task.question, solution=self.task.solution, explanation=piece
        )
        start = sequence.explanation.start if whole else sequence.solution.start
        return _planned(
            sequence,
            reader,
            start=start,
            end=sequence.solution.end,
            temperature=self.task.weights.temperature,
            called="student",
            param=param,
        )

    def _teacher(
        self, piece: ExplanationPiece, reader: Reader, *, temperature: float, param: str
    ) -> PlannedSequence | None:
        sequence = reader.codec.teacher_sequence(
            question=self.task.question, solution=self.task.solution, explanation=piece
        )
        if not len(sequence.explanation):
            return None
        start = sequence.explanation.start
        end = sequence.explanation.end
        return _planned(sequence, reader, start=start, end=end, temperature=temperature, called="teacher", param=param)


def _planned(
    sequence: EncodedSequence, reader: Reader, *, start: int, end: int, temperature: float, called: str, param: str
) -> PlannedSequence:
    """Ask for what is wanted of a sequence, and not for what only closes it."""
    tokens = len(sequence.token_ids)
    if tokens > reader.max_model_len:
        raise PromptTooLongError(
            f"what the {called} reads has {tokens} tokens, this engine holds {reader.max_model_len}: shorten the "
            "question, the explanation or the solution",
            param=param,
        )
    request = SequenceScoreRequest(
        token_ids=sequence.token_ids[:end],
        start=start,
        temperature=temperature,
        adapter=reader.adapter,
        cache_salt=reader.cache_salt,
    )
    return PlannedSequence(sequence=sequence, request=request)


def _explanation_ids(sequence: EncodedSequence) -> Sequence[int]:
    return sequence.token_ids[sequence.explanation.start : sequence.explanation.end]


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
