"""Own which base a job trains: students may have one of their own. Pure."""

from rlt_core.schemas.base import Role
from rlt_core.schemas.jobs import JobKind, SubmittedSpec, WarmupSpec
from rlt_service.settings import Settings

OF_STUDENTS: frozenset[JobKind] = frozenset({"distill", "rlvr"})
"""Kinds that only ever train the students' base."""
BASE_FIELDS = {"warmup": "base_model", "distill": "student_base"}
"""By kind: the field of a spec that names what training starts from."""


def base_role(spec: SubmittedSpec) -> Role:
    """Say whose base a job trains: a warm-up's is of the role that it names, any other's follows from its kind."""
    return spec.role if isinstance(spec, WarmupSpec) else role_of(spec.kind)


def role_of(kind: JobKind) -> Role:
    """Say whose base a kind of job trains: a distillation's and an rlvr's is the students', any other's the teachers'.

    Of a warm-up the kind does not tell: ask `base_role`.
    """
    return "student" if kind in OF_STUDENTS else "teacher"


def model_reference(settings: Settings, role: Role) -> str:
    """Name the model that is a role's base, as the settings do."""
    return (settings.student_model if role == "student" else None) or settings.base_model
