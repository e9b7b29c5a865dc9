"""Own what is checked of a collect before it is accepted: whom it names, whether rows fit. Rows are a stream."""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from rlt_core.errors import InvalidRequestError, NotFoundError, PromptTooLongError
from rlt_core.formats import ExplanationPiece
from rlt_core.row_files import open_rows
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import Dataset, DatasetRow
from rlt_core.schemas.dry_run import Lengths
from rlt_core.schemas.training import Splits
from rlt_core.splits import HELD_OUT, SplitRows, split_rows
from rlt_core.statistics import mean
from rlt_core.tokens import SequenceCodec
from rlt_service.control.specs import check_hub, check_not_before
from rlt_service.control.versions import resolve_version
from rlt_service.engine.protocol import Engine
from rlt_service.engine.request_checks import check_temperature
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.faults import storage_faults
from rlt_service.store.registry import Registry, ResolvedVersion

LOOKED_AT = 500
"""Rows that are read of each sort: the longest, the shortest, an even sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCollect:
    """A collect that can be carried out, with all that it names."""

    spec: CollectSpec
    dataset: Dataset
    rows: int
    """Those that are explained."""
    held_out: Mapping[str, int]
    """Those that are not, by split."""
    teacher: ResolvedVersion
    student: ResolvedVersion
    first: Sequence[DatasetRow]
    """The dataset's first rows, to try."""
    lengths: Lengths | None
    """None where this process has no tokenizer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectChecks:
    """Checks against what is stored and served; `engine` is None where none has started."""

    datasets: DatasetStore
    registry: Registry
    engine: Engine | None
    sources: Collection[str] = ()
    """Names of the endpoints outside that the operator has laid down."""

    def check(self, spec: CollectSpec, *, tried: int = 0) -> CheckedCollect:
        """Find all that a spec names; `tried` rows are given to try.

        Raises NotAvailableYetError, NotFoundError, ModelNotFoundError, PromptTooLongError or InvalidRequestError, each
        with `param`.
        """
        teacher, student = self.check_names(spec)
        dataset, path = self._dataset(spec.dataset)
        if not dataset.rows:
            raise InvalidRequestError(
                f"dataset {dataset.id} has no rows: there is nothing to explain", param="/dataset"
            )
        with storage_faults(f"read dataset {dataset.id}"):
            parts = self._split(spec, path)
            rows = dataset.rows if parts is None else len(parts.train)
            lengths = self._lengths(spec, _lines(path, parts), rows=rows)
            first = [DatasetRow.model_validate_json(line) for line in islice(_lines(path, parts), tried)]
        return CheckedCollect(
            spec=spec,
            dataset=dataset,
            rows=rows,
            held_out={name: 0 if parts is None else len(getattr(parts, name)) for name in HELD_OUT},
            teacher=teacher,
            student=student,
            first=first,
            lengths=lengths,
        )

    def _split(self, spec: CollectSpec, path: Path) -> SplitRows | None:
        """Divide the rows as the job will; None where none is held out, and they are read as a stream."""
        if spec.splits == Splits():
            return None
        named = {split: value for split, value in spec.splits.model_dump().items() if isinstance(value, str)}
        held_out: dict[str, Sequence[DatasetRow]] = {}
        for split, dataset_id in named.items():
            try:
                held_out[split] = open_rows(self.datasets.path(dataset_id))
            except NotFoundError as error:
                raise NotFoundError(error.detail, param=f"/splits/{split}") from error
        parts = split_rows(open_rows(path), splits=spec.splits, seed=spec.seed, held_out=held_out)
        if not parts.train:
            raise InvalidRequestError("no question is left to explain: hold less out", param="/splits")
        return parts

    def _lengths(self, spec: CollectSpec, lines: Iterable[bytes], *, rows: int) -> Lengths | None:
        if self.engine is None:
            return None
        check_temperature(spec.reward.temperature, info=self.engine.info, param="/reward/temperature")
        room = self.engine.info.max_model_len
        return _lengths(lines, rows=rows, spec=spec, codec=self.engine.codec, max_model_len=room)

    def check_names(self, spec: CollectSpec) -> tuple[ResolvedVersion, ResolvedVersion]:
        """Make the checks that look at no row; give teacher and student. Raises as `check` does."""
        check_not_before(spec)
        check_hub(spec.dataset, param="/dataset")
        for split, held_out in spec.splits.model_dump().items():
            if isinstance(held_out, str):
                check_hub(held_out, param=f"/splits/{split}")
        _check_keep(spec)
        _check_source(spec, known=self.sources)
        teacher = resolve_version(self.registry, "teacher", spec.teacher, param="/teacher")
        student = resolve_version(self.registry, "student", spec.student, param="/student")
        return teacher, student

    def _dataset(self, dataset_id: str) -> tuple[Dataset, Path]:
        try:
            return self.datasets.get(dataset_id), self.datasets.path(dataset_id)
        except NotFoundError as error:
            raise NotFoundError(error.detail, param="/dataset") from error


def _check_keep(spec: CollectSpec) -> None:
    if spec.keep == "best_that_fits" and spec.max_student_tokens is None:
        raise InvalidRequestError(
            "best_that_fits keeps what fits a student's context: give max_student_tokens too, the most tokens of "
            "question, explanation and solution together",
            param="/max_student_tokens",
        )
    if spec.keep != "best_that_fits" and spec.max_student_tokens is not None:
        raise InvalidRequestError(
            f"max_student_tokens is looked at by best_that_fits alone, and keep is {spec.keep}: leave it out, or ask "
            "for best_that_fits",
            param="/max_student_tokens",
        )


def _check_source(spec: CollectSpec, *, known: Collection[str]) -> None:
    if spec.source is None:
        if "wrong" in spec.drop:
            raise InvalidRequestError(
                "a teacher is shown the solution, so that none of its explanations is wrong: leave it out, or name a "
                "source that solves",
                param="/drop",
            )
        return
    if "teacher" in spec.model_fields_set:
        raise InvalidRequestError("a source writes in the teacher's place: name one of the two", param="/teacher")
    if spec.source.name not in known:
        there = ", ".join(sorted(known)) or "none"
        raise InvalidRequestError(
            f"this server knows no source {spec.source.name!r} (there are: {there}): its operator lays them down in "
            "RLT_SOURCES",
            param="/source/name",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    teacher: int
    """Tokens of the teacher's prompt."""
    reader: int
    """Tokens that the student reads beside the explanation."""


def _lengths(
    lines: Iterable[bytes], *, rows: int, spec: CollectSpec, codec: SequenceCodec, max_model_len: int
) -> Lengths:
    """Count rows in tokens: an even sample, and those of the longest lines.

    Raises PromptTooLongError where not even the shortest fit: some that do not are left out and listed by the job.
    """
    limit = max_model_len - spec.max_tokens
    sampled, longest, shortest = _picked(lines, stride=max(1, rows // LOOKED_AT))
    even = [_tokens(line, codec=codec) for line in sampled]
    seen = [*even, *(_tokens(line, codec=codec) for line in longest)]
    if not any(_fits(row, limit) for row in seen):
        best = min((_tokens(line, codec=codec) for line in shortest), key=lambda row: max(row.teacher, row.reader))
        if not _fits(best, limit):
            most = max(best.teacher, best.reader)
            raise PromptTooLongError(
                f"no question fits: the shortest has {most} tokens beside the explanation; with max_tokens = "
                f"{spec.max_tokens} that is {most + spec.max_tokens}, more than the {max_model_len} that the engine "
                "holds: lower max_tokens",
                param="/max_tokens",
            )
    return Lengths(
        rows=rows,
        looked_at=len(seen),
        mean_tokens=mean([float(row.teacher) for row in even]),
        longest_tokens=max(row.teacher for row in seen),
        mean_reader_tokens=mean([float(row.reader) for row in even]),
        limit_tokens=limit,
        too_long=sum(not _fits(row, limit) for row in seen),
    )


def _picked(lines: Iterable[bytes], *, stride: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Go through lines once; give an even sample, then the longest and the shortest that are not in it."""
    sampled: list[bytes] = []
    longest: list[tuple[int, int, bytes]] = []
    shortest: list[tuple[int, int, bytes]] = []
    number = count()
    for at, line in enumerate(lines):
        if at % stride == 0:
            sampled.append(line)
            continue
        for heap, size in ((longest, len(line)), (shortest, -len(line))):
            if len(heap) < LOOKED_AT:
                heapq.heappush(heap, (size, next(number), line))
            elif size > heap[0][0]:
                heapq.heapreplace(heap, (size, next(number), line))
    return sampled, [line for *_, line in longest], [line for *_, line in shortest] or sampled[:1]


def _tokens(line: bytes, *, codec: SequenceCodec) -> _Row:
    row = DatasetRow.model_validate_json(line)
    teacher = codec.teacher_sequence(question=row.question, solution=row.solution)
    student = codec.student_sequence(question=row.question, solution=row.solution, explanation=ExplanationPiece())
    return _Row(teacher=len(teacher.token_ids), reader=len(student.token_ids))


def _fits(row: _Row, limit: int) -> bool:
    return max(row.teacher, row.reader) <= limit


def _lines(path: Path, parts: SplitRows | None) -> Iterator[bytes]:
    """Give the rows that are explained, a line each."""
    if parts is not None:
        yield from (row.model_dump_json(exclude_none=True).encode() for row in parts.train)
        return
    with path.open("rb") as lines:
        yield from lines
