"""Own the main run: warm-ups, controls, every arm with its seeds, each measured on the same report questions."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.experiment.arms import Arm, Datasets, Models, Plan, kl, rows_name
from benchmarks.experiment.measuring import CONTROLS, Measurement
from benchmarks.experiment.session import Session, write_whole
from benchmarks.experiment.tasks import Row, Task, divided
from benchmarks.experiment.warming import base_of, warmed_up
from rlt_core.schemas.jobs import Job
from rlt_core.schemas.score import RewardConfig

STUDENT_DRIFT = 0.02
"""Nats a solution token that a student which was warmed up again may be apart from the one of the rows."""


def run_arms(session: Session, *, plan: Plan, task: Task) -> None:
    """Do what is left, in order; raises OutOfTimeError where time runs out.

    An arm whose rows are there is not trained again, also where the server's state is another one: then the warm-ups
    are made again from the same rows and seeds, and the student is held against the rows first.
    """
    parts = divided(task, sizes=plan.sizes(), seed=plan.data_seed)
    data, models = taught(session, plan=plan, parts=parts)
    measurement = Measurement(
        session.client,
        rows=parts["report"],
        student=models.student,
        reward=RewardConfig.model_validate(kl(plan.kl_mean)),
        temperature=plan.temperature,
        max_tokens=task.max_tokens,
    )
    session.once("student", lambda: _same_student(session, measurement))
    measurement.write(session, versions={"base": base_of(session), "warm-up": models.teacher}, controls=CONTROLS)
    for arm in plan.arms():
        for seed in arm.seeds:
            if session.has(rows_name(arm.name, seed=seed)):
                continue
            version = trained(session, plan, arm, seed=seed, data=data, models=models, max_tokens=task.max_tokens)
            measurement.write(session, versions={arm.name: version}, seed=seed)


def taught(session: Session, *, plan: Plan, parts: Mapping[str, Sequence[Row]]) -> tuple[Datasets, Models]:
    """Upload the questions and warm both models up, once; the teacher then serves."""
    ids = {name: session.upload(name, [row.uploaded() for row in parts[name]]) for name in ("train", "select", "gate")}
    data = Datasets(**ids)
    models = warmed_up(session, plan, dataset=data.train)
    session.once("served", lambda: _serve(session, models.teacher))
    return data, models


def trained(
    session: Session, plan: Plan, arm: Arm, *, seed: int, data: Datasets, models: Models, max_tokens: int
) -> str:
    """Reinforce the warmed-up teacher as an arm wants it, once; gives the version."""
    train = _training(session, plan, arm, seed=seed, data=data, models=models, max_tokens=max_tokens)
    return session.once(f"version {arm.name} {seed}", train)


def _same_student(session: Session, measurement: Measurement) -> str:
    """Hold this state's student against the rows that are there; RuntimeError where it is another one."""
    if not session.has("worked-solution"):
        return "the first one"
    lines = (session.out / "worked-solution.jsonl").read_text(encoding="utf-8").splitlines()
    drift = measurement.student_drift([json.loads(line) for line in lines])
    if drift > STUDENT_DRIFT:
        raise RuntimeError(
            f"the student that was warmed up again scores worked solutions {drift:.3f} nats apart from the rows in "
            f"{session.out}: its arms cannot be compared with them; remove the rows, or go on where they were made"
        )
    return f"{drift:.6f}"


def _serve(session: Session, version: str) -> str:
    """Have the warmed-up teacher serve: what each run's gate compares with."""
    aliases = session.client.aliases
    expected = {(one.role, one.alias): one.version for one in aliases.list().data}.get(("teacher", "default"))
    return aliases.put("teacher", "default", version=version, expected=expected, reason="experiment").version


def _training(
    session: Session, plan: Plan, arm: Arm, *, seed: int, data: Datasets, models: Models, max_tokens: int
) -> Callable[[], str]:
    def train() -> str:
        spec = plan.rl_spec(arm, seed=seed, data=data, models=models, max_tokens=max_tokens)
        job = session.job(f"{arm.name} {seed}", spec)
        if job.result is None or job.result.teacher is None:
            raise RuntimeError(f"{job.id} made no version")
        told = json.dumps(_told(session, job, arm=arm, seed=seed), indent=1)
        write_whole(session.out / "training" / f"{arm.name}-{seed}.json", told + "\n")
        return job.result.teacher

    return train


def _told(session: Session, job: Job, *, arm: Arm, seed: int) -> dict[str, Any]:
    """Give a run's curves, its time, and what its gate found against the warm-up."""
    series = session.client.jobs.metrics(job.id)
    result = job.result
    evaluation = result.evaluation if result else None
    gate = session.client.evaluations.get(evaluation) if evaluation else None
    return {
        "arm": arm.name,
        "seed": seed,
        "version": result.teacher if result else None,
        "runtime_s": job.runtime_s,
        "attempts": job.attempt,
        "cost": result.cost if result else {},
        "gate": gate.model_dump(mode="json") if gate else None,
        "spec": job.spec.model_dump(mode="json"),
        "steps": series.steps,
        "series": series.series,
    }
