"""Own what is checked of an evaluate before it is accepted: whom it names, whether answers can be judged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rlt_core.errors import InvalidRequestError, NotFoundError, PromptTooLongError
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_service.control.judging import FaultyRows, check_library
from rlt_service.control.specs import check_hub, check_not_before
from rlt_service.control.versions import resolve_version
from rlt_service.engine.protocol import Engine
from rlt_service.engine.request_checks import check_temperature
from rlt_service.settings import Settings
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.faults import storage_faults
from rlt_service.store.registry import Registry, ResolvedVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEvaluate:
    """An evaluate that can be carried out."""

    spec: EvaluateSpec
    rows: int
    first: Sequence[DatasetRow]
    """The first rows, as many as were asked for."""
    models: Sequence[ResolvedVersion]
    student: ResolvedVersion | None
    """Who scores, where teachers are measured."""
    longest_prompt_tokens: int | None
    """None where this process has no tokenizer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateChecks:
    """Checks against what is stored and served; `engine` is None where none has started."""

    settings: Settings
    datasets: DatasetStore
    registry: Registry
    engine: Engine | None

    def check(self, spec: EvaluateSpec, *, tried: int = 0) -> CheckedEvaluate:
        """Find all that a spec names, and look at every row; keep the first `tried`.

        Raises NotAvailableYetError, NotFoundError, ModelNotFoundError, PromptTooLongError or InvalidRequestError, each
        with `param`.
        """
        models, student = self.check_names(spec)
        try:
            path = self.datasets.path(spec.dataset)
        except NotFoundError as error:
            raise NotFoundError(error.detail, param="/dataset") from error
        with storage_faults(f"read dataset {spec.dataset}"):
            rows, longest = self._check_rows(spec, path)
            first = tuple(islice(_rows(path), tried))
        return CheckedEvaluate(
            spec=spec, rows=rows, first=first, models=models, student=student, longest_prompt_tokens=longest
        )

    def check_names(self, spec: EvaluateSpec) -> tuple[Sequence[ResolvedVersion], ResolvedVersion | None]:
        """Make the checks that look at no row; give whom to measure, and who scores. Raises as `check` does."""
        check_not_before(spec)
        check_hub(spec.dataset, param="/dataset")
        _check_fields(spec)
        if spec.role == "student":
            check_library(self.settings, rule=spec.verdict)
        models = self._models(spec)
        student = None
        if spec.role == "teacher":
            student = resolve_version(self.registry, "student", spec.student, param="/student")
            if self.engine is not None:
                check_temperature(spec.reward.temperature, info=self.engine.info, param="/reward/temperature")
        return models, student

    def _models(self, spec: EvaluateSpec) -> list[ResolvedVersion]:
        if (spec.model is None) == (spec.models is None):
            raise InvalidRequestError(
                "give either model, or models to have several compared on the same questions", param="/model"
            )
        if spec.model is not None:
            return [resolve_version(self.registry, spec.role, spec.model, param="/model")]
        found = [
            resolve_version(self.registry, spec.role, name, param=f"/models/{place}")
            for place, name in enumerate(spec.models or [])
        ]
        versions = [model.version for model in found]
        for place, version in enumerate(versions):
            if version in versions[:place]:
                raise InvalidRequestError(
                    f"{version} is named before: it cannot be compared with itself, name each model once",
                    param=f"/models/{place}",
                )
        return found

    def _check_rows(self, spec: EvaluateSpec, path: Path) -> tuple[int, int | None]:
        """Look at every row, as a stream: none is left out later, so each must be one that can be asked and judged."""
        count, longest, faulty, too_long = 0, 0, FaultyRows(), FaultyRows()
        for row in _rows(path):
            count += 1
            if spec.role == "student":
                faulty.judge(row, rule=spec.verdict)
            tokens = self._tokens(spec, row)
            longest = max(longest, tokens)
            limit = self.engine.info.max_model_len - spec.max_tokens if self.engine is not None else tokens
            too_long.add(row, f"has a prompt of {tokens} tokens" if tokens > limit else None)
        if not count:
            raise InvalidRequestError(f"dataset {spec.dataset} has no rows: nothing can be asked", param="/dataset")
        faulty.refuse_unjudged(rows=count, rule=spec.verdict, param="/dataset")
        if too_long.count and self.engine is not None:
            raise PromptTooLongError(
                f"{too_long.count} of {count} rows do not fit; the first, {too_long.first!r}, {too_long.why}, with "
                f"max_tokens = {spec.max_tokens} more than the {self.engine.info.max_model_len} that the engine holds: "
                "lower max_tokens, or leave such rows out of the dataset, so that figures say of which questions they "
                "are",
                param="/max_tokens",
            )
        return count, longest if self.engine is not None else None

    def _tokens(self, spec: EvaluateSpec, row: DatasetRow) -> int:
        """Count a row's prompt; 0 where this process has no tokenizer, or students have another."""
        if self.engine is None:
            return 0
        if spec.role == "teacher":
            return len(self.engine.codec.teacher_sequence(question=row.question, solution=row.solution).token_ids)
        if self.registry.base("student").base_model != self.registry.base().base_model:
            return 0
        return len(self.engine.codec.student_prompt(question=row.question).token_ids)


def _check_fields(spec: EvaluateSpec) -> None:
    for place, k in enumerate(spec.pass_at):
        if not 1 <= k <= spec.samples:
            raise InvalidRequestError(
                f"pass@{k} cannot be told from {spec.samples} samples a question: give a k from 1 to samples, or more "
                "samples",
                param=f"/pass_at/{place}",
            )
        if k in spec.pass_at[:place]:
            raise InvalidRequestError(f"pass@{k} is asked for twice", param=f"/pass_at/{place}")
    if spec.temperature == 0.0 and spec.samples > 1:
        raise InvalidRequestError(
            f"at temperature 0 all {spec.samples} samples of a question are the same: ask for one, or a temperature",
            param="/samples",
        )
    if spec.role == "teacher":
        for field, bad in (("temperature", spec.temperature == 0.0), ("top_p", spec.top_p < 1.0)):
            if bad:
                raise InvalidRequestError(
                    f"{field} = {getattr(spec, field):g} renormalises the log-probs that a teacher's reward is made "
                    f"of: leave {field} out",
                    param=f"/{field}",
                )
        for field in ("verdict", "pass_at"):
            if field in spec.model_fields_set:
                raise InvalidRequestError(
                    f"{field} is of students' answers, and role is teacher: leave it out", param=f"/{field}"
                )


def _rows(path: Path) -> Iterator[DatasetRow]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield DatasetRow.model_validate_json(line)
