"""Own the sizes of the experiment, its arms, and the specs of their jobs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.distillation.budget import Course
from benchmarks.experiment.arms import Plan as TeacherPlan
from rlt_core.schemas.evaluate import VerdictRule

BASE, OWN, ANSWERS = "base", "own", "answers"
TAUGHT = ("rl", "untrained", "warmup")
"""Arms whose students learn what a teacher explained."""
ARMS = (OWN, *TAUGHT, ANSWERS)
"""Arms whose students are trained, in the order in which a seed's are run."""
NO_THOUGHT = "."
"""What stands in a thought's place where the answers alone are learnt: the same for every question, it tells nothing. A
`distill` takes no row without a thought."""
Spec = dict[str, Any]
"""The body of POST /v1/train."""
LONGEST_SEQUENCE = 1024
"""Tokens; no question of a task with its thought and its solution has so many, so no row is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes of the experiment; what the protocol fixes (docs/decisions/0028)."""

    task: str | None = None
    """None is what the pilot chose."""
    seeds: tuple[int, ...] = (0, 1, 2)
    teachers: TeacherPlan = field(default_factory=TeacherPlan)
    """How the teachers came to be, and the questions that they share with the students."""
    curve_questions: int = 48
    """On which learning curves of `rlvr` are measured, and nothing else."""
    budget_tokens: int = 48_000
    """That each student is trained on: question, thought, solution and tags, every time that a row is seen."""
    step_tokens: int = 1_200
    """Of them in one optimizer step, as near as whole rows allow."""
    pilot_budget_tokens: int = 16_000
    rate: float = 5e-4
    samples: int = 4
    """Answers to a question, by which students are measured."""
    temperature: float = 0.7
    answer_tokens: int = 48
    """That a student may write beyond the longest explanation: its solution, and the tags."""
    rlvr_from: tuple[str, ...] = (BASE, "rl", OWN)
    """Arms whose students, of the first seed, are reinforced on their own answers."""
    rlvr_steps: int = 20
    rlvr_every: int = 5
    """Steps between measurements on the curve's questions."""
    rlvr_questions: int = 4
    rlvr_samples: int = 8
    rlvr_rate: float = 1e-4
    rlvr_beta: float = 0.04

    @classmethod
    def read(cls, sizes: Mapping[str, Any]) -> "Plan":
        """Make a plan of JSON; what it does not name is the protocol's."""
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}
        teachers: Mapping[str, Any] = given.pop("teachers", {})
        read = {name: tuple(value) if isinstance(value, list) else value for name, value in teachers.items()}
        return cls(**given, teachers=TeacherPlan(**read))

    def on(self, task: str) -> "Plan":
        """Give the plan of a task, its teachers' too."""
        return replace(self, task=task, teachers=replace(self.teachers, task=task))

    def row_files(self) -> tuple[str, ...]:
        """Name the files of rows of a whole run, without endings, in the order in which they are made."""
        trained = tuple(rows_name(arm, seed=seed) for seed in self.seeds for arm in ARMS)
        return (BASE, *trained, *(rlvr_name(start) for start in self.rlvr_from))

    def collect_spec(self, *, arm: str, seed: int, dataset: str, teacher: str, student: str, longest: int) -> Spec:
        """Write the body of POST /v1/train that lets a teacher explain each question once; all of it is kept."""
        return {
            "kind": "collect",
            "name": f"distillation: {arm}, seed {seed}",
            "dataset": dataset,
            "teacher": teacher,
            "student": student,
            "samples_per_question": 1,
            "keep": "all",
            "temperature": self.temperature,
            "max_tokens": longest,
            "seed": seed,
        }

    def arm_spec(self, *, name: str, seed: int, dataset: str, report: str, course: Course, asked: "Asked") -> Spec:
        """Write the pipeline that makes a student of a dataset and has it answer the held-out questions."""
        distil = {
            "kind": "distill",
            "name": f"distillation: {name}",
            "dataset": dataset,
            "target_name": name,
            "epochs": 1000.0,
            "max_steps": course.steps,
            "batch_size": course.batch,
            "learning_rate": self.rate,
            "max_tokens": LONGEST_SEQUENCE,
            "seed": seed,
        }
        evaluate = self.evaluate_spec(model="$distil.student", dataset=report, asked=asked)
        steps = [{"id": "distil", "spec": distil}, {"id": "evaluate", "spec": evaluate}]
        return {"kind": "pipeline", "name": f"distillation: {name}", "seed": seed, "steps": steps}

    def evaluate_spec(self, *, model: str, dataset: str, asked: "Asked") -> Spec:
        """Write the body of POST /v1/train that has a student answer; the same seeds for all."""
        return {
            "kind": "evaluate",
            "model": model,
            "dataset": dataset,
            "samples": self.samples,
            "temperature": self.temperature,
            "max_tokens": asked.max_tokens,
            "verdict": asked.verdict,
            "seed": 0,
        }

    def rlvr_spec(self, *, start: str, student: str, practice: str, curve: str, report: str, asked: "Asked") -> Spec:
        """Write the pipeline that reinforces a student: measured before, on the curve's questions, and after."""
        name = rlvr_name(start)
        reinforced = {
            "kind": "rlvr",
            "name": f"distillation: {name}",
            "student": student,
            "dataset": practice,
            "splits": {"select": curve},
            "target_name": name,
            "verdict": asked.verdict,
            "steps": self.rlvr_steps,
            "questions_per_step": self.rlvr_questions,
            "samples_per_question": self.rlvr_samples,
            "learning_rate": self.rlvr_rate,
            "beta": self.rlvr_beta,
            "temperature": self.temperature,
            "max_tokens": asked.max_tokens,
            "eval_every": self.rlvr_every,
            "seed": 0,
        }
        steps = [
            {"id": "before", "spec": self.evaluate_spec(model=student, dataset=curve, asked=asked)},
            {"id": "rlvr", "spec": reinforced, "after": ["before"]},
            {"id": "evaluate", "spec": self.evaluate_spec(model="$rlvr.student", dataset=report, asked=asked)},
        ]
        return {"kind": "pipeline", "name": f"distillation: {name}", "seed": 0, "steps": steps}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a student of a task is asked and judged."""

    max_tokens: int
    """Longest completion, thought and solution together."""
    verdict: VerdictRule


def rows_name(arm: str, *, seed: int) -> str:
    """Name an arm's file of rows, and its student."""
    return f"{arm}-{seed}"


def rlvr_name(start: str) -> str:
    """Name the file of rows, and the student, that RL on answers makes of an arm's."""
    return f"rlvr-{start}"


TINY: Mapping[str, Any] = {
    "task": "arithmetic-3",
    "seeds": (0,),
    "teachers": {
        "train_questions": 4,
        "select_questions": 2,
        "gate_questions": 2,
        "report_questions": 3,
        "pilot_questions": 4,
        "pilot_held_out": 2,
        "student_steps": 2,
        "teacher_steps": 2,
        "warmup_batch": 2,
        "rl_steps": 1,
        "eval_every": 1,
        "questions_per_step": 2,
        "samples_per_question": 2,
    },
    "curve_questions": 2,
    "budget_tokens": 400,
    "step_tokens": 200,
    "pilot_budget_tokens": 400,
    "samples": 2,
    "rlvr_steps": 1,
    "rlvr_every": 1,
    "rlvr_questions": 2,
    "rlvr_samples": 2,
}
"""Sizes of a trial, which runs the whole chain in minutes; its figures mean nothing."""
