"""Own which training specs this server carries out: known kinds, fields, adapters that can be served. Pure."""

import difflib
from datetime import UTC
from typing import get_args

from rlt_core.errors import InvalidRequestError, NotAvailableYetError
from rlt_core.hub_models import HUB_PREFIX, parse_hub_model
from rlt_core.schemas.jobs import DistillSpec, JobKind, PolicySpec, RlSpec, RlvrSpec, TrainingSpec
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_core.schemas.spec_base import SharedSpec
from rlt_core.schemas.training import LINEAR_TARGETS, GrpoSpec
from rlt_service.bases import BASE_FIELDS, base_role

KINDS: tuple[str, ...] = get_args(JobKind)
KINDS_TOLD = f"{', '.join(KINDS[:-1])} and {KINDS[-1]}"
Spec = TrainingSpec


def check_kind(body: object) -> None:
    """Raise InvalidRequestError naming the known kinds for any other."""
    if not isinstance(body, dict):
        return  # the schema says what is wrong with it
    fields: dict[object, object] = body  # pyright: ignore[reportUnknownVariableType] - JSON of a caller
    known_kind(fields.get("kind"))


def known_kind(kind: object) -> object:
    """Pass a kind that runs here; raises what `check_kind` raises for any other."""
    if kind in KINDS:
        return kind
    near = difflib.get_close_matches(str(kind)[:80], KINDS, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    found = "the kind is missing" if kind is None else f"{str(kind)[:80]!r} is no kind of job"
    raise InvalidRequestError(f"{found}{hint}: this server runs {KINDS_TOLD}", param="/kind")


def check_available(spec: Spec, *, base_names: tuple[str, ...]) -> None:
    """Raise NotAvailableYetError for a field that asks for later work; `base_names` all mean the served base."""
    for param, dataset in (("/dataset", spec.dataset), *_named_splits(spec)):
        check_hub(dataset, param=param)
    check_parallel(spec)
    _check_select(spec)
    if isinstance(spec, RlSpec | RlvrSpec):
        _check_policy(spec)
    elif spec.base_model is not None and spec.base_model not in base_names:
        field = BASE_FIELDS[spec.kind]
        _check_pinned(spec.base_model, param=f"/{field}")
        variable = "RLT_STUDENT_MODEL" if base_role(spec) == "student" else "RLT_BASE_MODEL"
        raise _later(
            f"a base other than the served one ({base_names[0]}): leave {field} out, or start a server with "
            f"{variable}={spec.base_model}",
            param=f"/{field}",
        )


def check_hub(dataset: str, *, param: str) -> None:
    """Raise NotAvailableYetError for a dataset of a hub."""
    if dataset.startswith(HUB_PREFIX):
        raise _later("datasets from a hub: upload the rows with POST /v1/datasets", param=param)


def check_taught(spec: DistillSpec) -> None:
    """Raise InvalidRequestError for a distillation without explanations, or one whose teacher is to write them.

    Submitted alone, the latter has become two steps before.
    """
    if spec.teacher is not None:
        raise InvalidRequestError(
            "teacher makes a pipeline of a distillation, and this is a step of one: write a collect, and let dataset "
            "refer to it",
            param="/teacher",
        )
    if not spec.dataset:
        raise InvalidRequestError(
            "dataset is missing: name one of explanations, or the teacher who is to write them", param="/dataset"
        )


def check_not_before(spec: SharedSpec | PipelineSpec) -> None:
    """Raise InvalidRequestError for a time without a zone, or one that no calendar in UTC has."""
    if spec.not_before is None:
        return
    if spec.not_before.tzinfo is None:
        raise InvalidRequestError(
            f"{spec.not_before.isoformat()} names no time zone: write {spec.not_before.isoformat()}Z for UTC",
            param="/not_before",
        )
    try:
        spec.not_before.astimezone(UTC)
    except OverflowError as error:
        raise InvalidRequestError(f"{spec.not_before} lies outside the calendar", param="/not_before") from error


def check_lora(spec: Spec, *, max_rank: int) -> None:
    """Raise InvalidRequestError for an adapter that the engine would refuse to serve."""
    if spec.lora is None:
        return
    if spec.lora.rank > max_rank:
        raise InvalidRequestError(
            f"rank {spec.lora.rank} is above the {max_rank} that this engine serves: lower it, or restart the server "
            "with a higher RLT_MAX_LORA_RANK",
            param="/lora/rank",
        )
    for index, target in enumerate(spec.lora.targets):
        if target in LINEAR_TARGETS:
            continue
        why = ": the engine leaves it out when it scores (vLLM #51594)" if target == "lm_head" else ""
        raise InvalidRequestError(
            f"{target[:80]!r} cannot be a target{why}; use {', '.join(LINEAR_TARGETS)}", param=f"/lora/targets/{index}"
        )


def check_parallel(spec: Spec) -> None:
    """Raise InvalidRequestError for processes that cannot share a step's rows, or lay out what is needed whole."""
    processes, strategy = spec.parallel.processes, spec.parallel.strategy
    if processes == 1:
        if strategy != "ddp":
            raise InvalidRequestError(
                f"{strategy} lays a model's weights out over several processes, and parallel.processes is 1: give "
                "more, or leave the strategy out",
                param="/parallel/strategy",
            )
        return
    if isinstance(spec, RlSpec | RlvrSpec):
        _check_parallel_policy(spec)
    elif spec.batch_size % processes:
        raise InvalidRequestError(
            f"a batch of {spec.batch_size} cannot be shared out among {processes} processes: choose a batch_size that "
            "divides by them",
            param="/batch_size",
        )


def _check_parallel_policy(spec: GrpoSpec) -> None:
    processes, strategy = spec.parallel.processes, spec.parallel.strategy
    completions = spec.questions_per_step * spec.samples_per_question
    if completions % processes:
        raise InvalidRequestError(
            f"the {completions} completions of a step (questions_per_step x samples_per_question) cannot be shared out "
            f"among {processes} processes: choose numbers that divide by them",
            param="/parallel/processes",
        )
    for needed, field in ((spec.reference_every, "reference_every"), (spec.eval_every, "eval_every")):
        if needed and strategy != "ddp":
            raise _later(
                f"{field} with {strategy}, which lays weights out in parts where this needs them whole: use ddp, or "
                f"leave {field} at 0",
                param=f"/{field}",
            )


def _check_policy(spec: PolicySpec) -> None:
    if spec.lora is None:
        _check_whole_policy(spec)
    if spec.reference_every > 0 and spec.beta == 0.0:
        raise InvalidRequestError(
            "with a beta of 0 there is no reference to move: give beta, or leave reference_every at 0",
            param="/reference_every",
        )
    if isinstance(spec, RlvrSpec) and spec.max_staleness and spec.verdict == "math_verify":
        raise InvalidRequestError(
            "with max_staleness answers are judged beside the step before, where the time that math-verify takes "
            "cannot be bounded: leave it at 0, or ask for the verdict exact, choice or countdown",
            param="/max_staleness",
        )


def _check_whole_policy(spec: PolicySpec) -> None:
    """Raise NotAvailableYetError for what policies of all weights, which follow one another in one engine, cannot."""
    if spec.max_staleness:
        raise _later(
            "max_staleness with all weights (lora: null): an engine of their own holds one policy at a time, and the "
            "one before would still be asked while the next is there; leave max_staleness at 0, or give lora",
            param="/lora",
        )
    if spec.parallel.processes > 1:
        raise _later(
            f"{spec.kind} of all weights (lora: null) in several processes: leave parallel out, or give lora",
            param="/parallel/processes",
        )


def _check_select(spec: Spec) -> None:
    if spec.eval_every > 0 and not spec.splits.select:
        raise InvalidRequestError(
            "eval_every measures on questions that are held out for it: give splits.select too", param="/splits/select"
        )
    if spec.splits.select and not spec.eval_every:
        raise InvalidRequestError(
            "select questions are held out and never looked at: give eval_every too", param="/eval_every"
        )
    if spec.patience and not spec.eval_every:
        raise InvalidRequestError("patience counts measurements: give eval_every too", param="/patience")


def _check_pinned(base_model: str, *, param: str) -> None:
    """Raise InvalidRequestError for a model of a hub without a commit."""
    if not base_model.startswith(HUB_PREFIX):
        return
    try:
        parse_hub_model(base_model)
    except ValueError as error:
        raise InvalidRequestError(str(error), param=param) from error


def _named_splits(spec: Spec) -> list[tuple[str, str]]:
    named = spec.splits.model_dump()
    return [(f"/splits/{split}", value) for split, value in named.items() if isinstance(value, str)]


def _later(what: str, *, param: str) -> NotAvailableYetError:
    return NotAvailableYetError(f"not available yet is {what}", param=param)
