"""Own the run: teachers, then each arm and seed (texts, student, answers), then RL on answers."""

import json
from functools import partial
from typing import Any

from benchmarks.distillation.budget import Course, course_of
from benchmarks.distillation.measuring import PAGE, measured, token_lengths
from benchmarks.distillation.plan import ANSWERS, BASE, NO_THOUGHT, TAUGHT, Plan, rlvr_name, rows_name
from benchmarks.distillation.questions import asked_of, parts_of, uploaded
from benchmarks.distillation.teachers import teachers_of
from benchmarks.experiment.session import Session, say, write_whole
from benchmarks.experiment.tasks import Task
from benchmarks.experiment.warming import base_of
from rlt_core.schemas.jobs import Job, JobResult
from rlt_core.statistics import mean

WIDTH = 24
"""Characters of the bar that shows how much of the run is done."""


class Run:
    """One run on one task: each method makes a file of rows, unless it is there."""

    def __init__(self, session: Session, *, plan: Plan, task: Task) -> None:
        """Ask the server nothing yet."""
        self._session = session
        self._plan = plan
        self._task = task
        self._parts = parts_of(task, plan=plan)
        self._asked = asked_of(task, plan=plan)

    def all(self) -> None:
        """Do what is left, in order; raises OutOfTimeError where time runs out, RuntimeError where a job fails."""
        names = self._plan.row_files()
        for name in names:
            if self._session.has(name):
                continue
            done = sum(self._session.has(one) for one in names)
            say(f"[{'#' * (WIDTH * done // len(names)):-<{WIDTH}}] {done} of {len(names)} files of rows, now {name}")
            arm, _, seed = name.rpartition("-")
            if name == BASE:
                self.base()
            elif arm == "rlvr":
                self.rlvr(seed)
            else:
                self.arm(arm, seed=int(seed))

    def base(self) -> None:
        """Measure the model to which nothing was done."""
        version = base_of(self._session)
        spec = self._plan.evaluate_spec(model=version, dataset=self._report(), asked=self._asked)
        evaluation = _made(self._session.job("distil base", spec)).evaluation
        self._write(BASE, arm=BASE, seed=0, version=version, evaluation=evaluation)

    def arm(self, arm: str, *, seed: int) -> None:
        """Train and measure an arm's student of one seed."""
        name = rows_name(arm, seed=seed)
        if arm in TAUGHT:
            dataset, lengths, texts = self._explained(arm, seed=seed)
        else:
            dataset, lengths, texts = self._own(arm)
        course = course_of(lengths, budget=self._plan.budget_tokens, a_step=self._plan.step_tokens)
        spec = self._plan.arm_spec(
            name=name, seed=seed, dataset=dataset, report=self._report(), course=course, asked=self._asked
        )
        job = self._session.job(f"distil {name}", spec)
        self._tell(name, job, arm=arm, seed=seed, extra={"course": _of_course(course), "rows": len(lengths), **texts})
        made = _made(job)
        self._write(name, arm=arm, seed=seed, version=made.student, evaluation=made.evaluation)

    def rlvr(self, start: str) -> None:
        """Reinforce the first seed's student of an arm on its own answers, and measure what came of it."""
        name = rlvr_name(start)
        student = self._student(start)
        practice = self._session.upload("distil practice", [uploaded(row) for row in self._parts.practice])
        curve = self._session.upload("distil curve", [uploaded(row) for row in self._parts.curve])
        spec = self._plan.rlvr_spec(
            start=start, student=student, practice=practice, curve=curve, report=self._report(), asked=self._asked
        )
        job = self._session.job(f"distil {name}", spec)
        made = _made(job)
        steps = {one.step: one for one in made.steps}
        series = self._session.client.jobs.metrics(steps["rlvr"].job)
        before = steps["before"].evaluation or ""
        figure = self._session.client.evaluations.measured(before).figures[f"mean@{self._plan.samples}"]
        extra = {"steps": series.steps, "series": series.series, "accuracy_before": figure.mean}
        self._tell(name, job, arm=name, seed=0, extra=extra)
        self._write(name, arm=name, seed=0, version=made.student, evaluation=made.evaluation)

    def _student(self, start: str) -> str:
        if start == BASE:
            return base_of(self._session)
        name = rows_name(start, seed=self._plan.seeds[0])
        version = json.loads((self._session.out / f"{name}.jsonl").read_text("utf-8").partition("\n")[0])["version"]
        if not self._session.knows(f"job distil {name}"):
            raise RuntimeError(
                f"{version} is not in this server's state, another one made its rows: remove {name}.jsonl from "
                f"{self._session.out}, so that it is made and measured again, or go on where it was made"
            )
        return version

    def _report(self) -> str:
        return self._session.upload("distil report", [uploaded(row) for row in self._parts.report])

    def _own(self, arm: str) -> tuple[str, list[int], dict[str, Any]]:
        rows = self._parts.train
        thoughts = [NO_THOUGHT if arm == ANSWERS else row.trace for row in rows]
        texts = [uploaded(row, thought=thought) for row, thought in zip(rows, thoughts, strict=True)]
        dataset = self._session.upload(f"distil {arm}", texts)
        student = base_of(self._session)
        return dataset, token_lengths(self._session.client, rows, thoughts=thoughts, student=student), {}

    def _explained(self, arm: str, *, seed: int) -> tuple[str, list[int], dict[str, Any]]:
        teachers = teachers_of(self._session, plan=self._plan, task=self._task)
        spec = self._plan.collect_spec(
            arm=arm,
            seed=seed,
            dataset=self._session.upload("distil train", [uploaded(row) for row in self._parts.train]),
            teacher=teachers.by_arm[arm],
            student=teachers.student,
            longest=self._task.max_tokens,
        )
        job = self._session.job(f"distil collect {arm} {seed}", spec)
        made = _made(job)
        if made.dataset is None:
            raise RuntimeError(f"{job.id} made no dataset")
        lengths, texts = self._collected(made.dataset)
        return made.dataset, lengths, {"collected": texts | {"counts": made.counts, "cost": made.cost}}

    def _collected(self, dataset: str) -> tuple[list[int], dict[str, Any]]:
        """Read the lengths of a collected dataset's rows, and what its explanations are like."""
        by_id = {row.id: row for row in self._parts.train}
        lengths, right, said, closed, r_ss = list[int](), list[float](), list[float](), list[float](), list[float]()
        more = True
        while more:
            page = self._session.client.datasets.rows(dataset, offset=len(lengths), limit=PAGE)
            for row in page.data:
                from_where = row.metadata["collect"]
                lengths.append(from_where["student_tokens"])
                judged = by_id[from_where["source_row"]].judged(row.reasoning_trace or "")
                right.append(float(bool(judged["steps_right"])))
                said.append(float(from_where["verbatim"]))
                closed.append(float(from_where["well_formed"]))
                r_ss.append(from_where["r_ss"])
            more = page.has_more and bool(page.data)
        return lengths, {
            "dataset": dataset,
            "steps_right": mean(right),
            "verbatim": mean(said),
            "closed": mean(closed),
            "r_ss": mean(r_ss),
        }

    def _write(self, name: str, *, arm: str, seed: int, version: str | None, evaluation: str | None) -> None:
        if version is None or evaluation is None:
            raise RuntimeError(f"{name}: the job made no student or no evaluation")
        make = partial(
            measured,
            self._session.client,
            self._parts.report,
            evaluation=evaluation,
            version=version,
            arm=arm,
            seed=seed,
        )
        self._session.rows(name, make)

    def _tell(self, name: str, job: Job, *, arm: str, seed: int, extra: dict[str, Any]) -> None:
        # Not by the name alone: a teacher that was made again has told of itself as rl-0.
        made = _made(job)
        told = {
            "arm": arm,
            "seed": seed,
            "version": made.student,
            "runtime_s": job.runtime_s,
            "cost": made.cost,
            "spec": job.spec.model_dump(mode="json"),
            **extra,
        }
        write_whole(self._session.out / "training" / f"student-{name}.json", json.dumps(told, indent=1) + "\n")


def _made(job: Job) -> JobResult:
    if job.result is None:
        raise RuntimeError(f"{job.id} made nothing")
    return job.result


def _of_course(course: Course) -> dict[str, float]:
    return {"batch": course.batch, "steps": course.steps, "tokens": course.tokens}
