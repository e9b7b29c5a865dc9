"""Own which base a job trains: students may have one of their own. Pure."""

from rlt_core.schemas.base import Role
from rlt_core.schemas.jobs import DistillSpec, SubmittedSpec
from rlt_service.settings import Settings

BASE_FIELDS = {"warmup": "base_model", "distill": "student_base"}
"""By kind: the field of a spec that names what training starts from."""


def base_role(spec: SubmittedSpec) -> Role:
    """Say whose base a job trains: a distillation's is the students', any other's the teachers'."""
    return "student" if isinstance(spec, DistillSpec) else "teacher"


def model_reference(settings: Settings, role: Role) -> str:
    """Name the model that is a role's base, as the settings do."""
    return (settings.student_model if role == "student" else None) or settings.base_model
