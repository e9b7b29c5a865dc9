"""Own the warm-ups, of pilot and main run alike: student and teacher learn the format from the same rows."""

from benchmarks.experiment.arms import Models, Plan
from benchmarks.experiment.session import Session
from rlt_core.schemas.base import Role


def warmed_up(session: Session, plan: Plan, *, dataset: str, prefix: str = "") -> Models:
    """Warm both up, the student first; raises what Session.job raises."""
    return Models(
        student=_version(session, plan, role="student", dataset=dataset, prefix=prefix),
        teacher=_version(session, plan, role="teacher", dataset=dataset, prefix=prefix),
    )


def base_of(session: Session) -> str:
    """Name the untrained model."""
    return next(name for name in session.client.capabilities().models if name.endswith("@0"))


def _version(session: Session, plan: Plan, *, role: Role, dataset: str, prefix: str) -> str:
    target = f"{prefix}warm-{role}"

    def train() -> str:
        result = session.job(target, plan.warmup_spec(role=role, dataset=dataset, target=target)).result
        made = (result.student if role == "student" else result.teacher) if result else None
        if made is None:
            raise RuntimeError(f"{target} made no version")
        return made

    return session.once(target, train)
