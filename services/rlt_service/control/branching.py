"""Own whether a spec can go on from a checkpoint of another job: what must be the same in both. Pure."""

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.trainer import BranchPoint, TrainerJob
from rlt_core.schemas.training import GrpoSpec
from rlt_service.control.specs import Spec
from rlt_service.store.checkpoints import PARAM

ALIKE = {
    "rl": ("questions_per_step",),
    "warmup": ("role", "batch_size", "max_tokens"),
    "distill": ("batch_size", "max_tokens"),
    "rlvr": ("questions_per_step",),
}
"""By kind: fields that decide, with the common ones, which rows are due after a step."""
COMMON = ("dataset", "splits", "seed", "lora")


def check_fits(spec: Spec, *, point: BranchPoint, told: TrainerJob, base_model: str, format_id: str) -> None:
    """Raise InvalidRequestError, pointing at the field, where the checkpoint is of other data or another adapter.

    All else may differ: learning rate, losses, rewards, students, lengths, and how many steps there are.
    """
    name = f"{point.job_id}.{point.attempt}.{point.step}"
    for what, has, served in (
        ("kind", told.kind, spec.kind),
        ("base", told.base_model, base_model),
        ("format", told.format_id, format_id),
    ):
        if has != served:
            raise InvalidRequestError(
                f"the checkpoint {name} is of the {what} {has!r}, this job is of {served!r}", param=PARAM
            )
    for field in (*COMMON, *ALIKE[spec.kind]):
        has, wanted = getattr(told.spec, field), getattr(spec, field)
        if has != wanted:
            raise InvalidRequestError(
                f"the checkpoint {name} was trained with {field} = {_shown(has)}, this job has {_shown(wanted)}: give "
                "the same, or start from a version instead",
                param=f"/{field}",
            )
    steps, field = (spec.steps, "steps") if isinstance(spec, GrpoSpec) else (spec.max_steps, "max_steps")
    if steps is not None and steps <= point.step:
        raise InvalidRequestError(
            f"the checkpoint {name} is of step {point.step}, so that {field} = {steps} leaves nothing to train: "
            "it counts the steps from the start of training",
            param=f"/{field}",
        )


def _shown(value: object) -> str:
    dump = getattr(value, "model_dump_json", None)
    return str(dump()) if callable(dump) else repr(value)
