"""Own where the teachers come from: the state of `make experiment-rl` , else made again by its code."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.distillation.plan import Plan
from benchmarks.experiment.arms import MAIN
from benchmarks.experiment.protocol import taught, trained
from benchmarks.experiment.session import Session, write_whole
from benchmarks.experiment.tasks import Task, divided
from benchmarks.experiment.warming import base_of

NEEDED = ("warm-student", "warm-teacher", "served", f"version {MAIN} 0")
HOME = "home"
"""The note that says which server's state the run is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teachers:
    """Exact versions: who explains, by arm, and the student that judged in the teacher's training."""

    by_arm: Mapping[str, str]
    student: str


def state_of(work: Path, *, plan: Plan, rl_work: Path, rl_out: Path) -> Path:
    """Say which server's state to run on, the same for all calls: that of `make experiment-rl`, or one in `work`.

    Of the other experiment, its notes come with it, so that what it has made is not made again. It must have had the
    same plan, and have seed 0 of its main arm.
    """
    notes = work / "notes.json"
    known: dict[str, str] = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
    if HOME not in known:
        theirs = rl_work / "notes.json"
        found: dict[str, str] = json.loads(theirs.read_text(encoding="utf-8")) if theirs.exists() else {}
        ours = json.loads(json.dumps(asdict(plan.teachers)))
        shared = all(key in found for key in NEEDED) and _plan_of(rl_out) == ours
        known = (found if shared else {}) | {HOME: str((rl_work if shared else work) / "home")}
        write_whole(notes, json.dumps(known, indent=1) + "\n")
    return Path(known[HOME])


def teachers_of(session: Session, *, plan: Plan, task: Task) -> Teachers:
    """Give the teachers; those that are not there yet are trained, as `make experiment-rl` trains its seed 0."""
    parts = divided(task, sizes=plan.teachers.sizes(), seed=plan.teachers.data_seed)
    data, models = taught(session, plan=plan.teachers, parts=parts)
    [main] = [arm for arm in plan.teachers.arms() if arm.name == MAIN]
    reinforced = trained(session, plan.teachers, main, seed=0, data=data, models=models, max_tokens=task.max_tokens)
    by_arm = {"untrained": base_of(session), "warmup": models.teacher, "rl": reinforced}
    return Teachers(by_arm=by_arm, student=models.student)


def _plan_of(out: Path) -> object:
    path = out / "run.json"
    return json.loads(path.read_text(encoding="utf-8"))["plan"] if path.exists() else None
