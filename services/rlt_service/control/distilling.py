"""Own a distillation that names a teacher: it collects first, so it is a pipeline of two steps."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from rlt_core.errors import InvalidRequestError, RltError
from rlt_core.schemas.jobs import DistillSpec
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_service.control.versions import resolve_version
from rlt_service.store.registry import Registry

OF_THE_WHOLE = ("name", "seed", "max_runtime_s", "priority", "not_before")
"""What a submission says of both steps together."""


def collects_first(spec: DistillSpec, *, registry: Registry) -> PipelineSpec:
    """Write the two steps: `collect` over the questions with its defaults, then `distill` on what it makes.

    Raises ModelNotFoundError, InvalidRequestError for a teacher without questions, each with `param`.
    """
    if spec.resume_from is not None:
        raise InvalidRequestError(
            "resume_from goes on over the same rows, and a teacher writes new ones: name the dataset that was "
            "collected then, without a teacher",
            param="/resume_from",
        )
    teacher = resolve_version(registry, "teacher", spec.teacher or "", param="/teacher").version
    questions = spec.dataset or registry.get_version(teacher).dataset
    if not questions:
        raise InvalidRequestError(
            f"{teacher} was trained on no dataset that it could explain: give dataset, whose questions it explains",
            param="/dataset",
        )
    given: dict[str, Any] = spec.model_dump(mode="json", exclude_unset=True)
    whole = {name: given.pop(name) for name in OF_THE_WHOLE if name in given}
    steps = [
        {"id": "collect", "spec": {"kind": "collect", "dataset": questions, "teacher": teacher}},
        {"id": "distill", "spec": given | {"dataset": "$collect.dataset", "teacher": None}},
    ]
    return PipelineSpec.model_validate({"kind": "pipeline", "steps": steps} | whole, strict=False)


@contextmanager
def as_submitted() -> Generator[None]:
    """Have what the checks of the steps raise point into the distillation that was submitted."""
    try:
        yield
    except RltError as error:
        param = error.param or ""
        for prefix in ("/steps/0/spec", "/steps/1/spec"):
            param = param.removeprefix(prefix)
        raise type(error)(
            error.detail, param=param or None, retry_after_s=error.retry_after_s, extra=error.extra
        ) from error
