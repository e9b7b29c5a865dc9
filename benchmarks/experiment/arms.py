"""Own the arms: what is trained how, each with its seeds. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SPARSE = "sparse"
"""Part of a job's name that has its trainer reward right steps alone (`trainer.py`)."""
MAIN = "rl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to reinforce the warmed-up teacher."""

    name: str
    seeds: tuple[int, ...]
    reward: Mapping[str, float] = field(default_factory=dict[str, float])
    """Coefficients that are not the plan's."""

    @property
    def sparse(self) -> bool:
        """Whether explanations are rewarded for right steps, by program, and for nothing else."""
        return self.name == SPARSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasets:
    """Ids of the uploaded parts of the questions."""

    train: str
    select: str
    gate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Versions that every arm begins with: both were warmed up on the questions of `train`."""

    student: str
    teacher: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes of the experiment; what the protocol fixes (docs/decisions/0022)."""

    task: str | None = None
    """None is what the pilot chose."""
    kl_mean: float = 0.3
    """Of the main arm; the largest KL weighs a hundredth of it, as in the paper."""
    sweep: tuple[float, ...] = (3.0, 0.0, 0.3, 1.0, 0.1)
    """Weights of the mean KL, one seed each, in the order in which they are run; the main arm's too, at fewer steps."""
    main_seeds: tuple[int, ...] = (0, 1, 2)
    pilot_questions: int = 64
    """That the pilot trains on."""
    pilot_held_out: int = 32
    pilot_student_steps: int = 8
    pilot_teacher_steps: int = 12
    train_questions: int = 256
    select_questions: int = 32
    gate_questions: int = 32
    report_questions: int = 200
    student_steps: int = 12
    teacher_steps: int = 24
    warmup_batch: int = 8
    warmup_rate: float = 5e-4
    rl_steps: int = 40
    ablation_steps: int = 20
    """Fewer than the main arm's, so that there is time for all: they are compared with each other."""
    eval_every: int = 10
    """Steps between measurements on the select questions, by which the version of a run is chosen."""
    questions_per_step: int = 4
    samples_per_question: int = 8
    rl_rate: float = 1e-4
    beta: float = 0.04
    temperature: float = 0.7
    data_seed: int = 0
    """Of the one draw of questions that is cut into the parts."""

    def sizes(self) -> dict[str, int]:
        """Give the parts of the questions; none is in two."""
        return {
            "pilot": self.pilot_questions,
            "pilot_held_out": self.pilot_held_out,
            "train": self.train_questions,
            "select": self.select_questions,
            "gate": self.gate_questions,
            "report": self.report_questions,
        }

    def arms(self) -> tuple[Arm, ...]:
        """List the main arm and the ablations, what tells most first: time may run out before the last."""
        swept = [Arm(name=f"kl-{weight:g}", seeds=(0,), reward=kl(weight)) for weight in self.sweep]
        return (
            Arm(name=MAIN, seeds=self.main_seeds, reward=kl(self.kl_mean)),
            *swept[:3],
            Arm(name=SPARSE, seeds=(0,), reward=kl(self.kl_mean)),
            Arm(name="no-min-max", seeds=(0,), reward=kl(self.kl_mean) | {"solution_min": 0.0, "kl_max": 0.0}),
            *swept[3:],
        )

    def row_files(self) -> tuple[str, ...]:
        """Name the files of rows of a whole run, without endings."""
        trained = tuple(rows_name(arm.name, seed=seed) for arm in self.arms() for seed in arm.seeds)
        return ("base", "warm-up", "worked-solution", "bare-solution", *trained)

    def for_pilot(self) -> "Plan":
        """Give the plan with the pilot's shorter warm-ups."""
        return replace(self, student_steps=self.pilot_student_steps, teacher_steps=self.pilot_teacher_steps)

    def warmup_spec(self, *, role: str, dataset: str, target: str) -> dict[str, Any]:
        """Write the body of POST /v1/train for a warm-up."""
        return {
            "kind": "warmup",
            "name": f"experiment: {target}",
            "role": role,
            "dataset": dataset,
            "target_name": target,
            "epochs": 1000.0,
            "max_steps": self.student_steps if role == "student" else self.teacher_steps,
            "batch_size": self.warmup_batch,
            "learning_rate": self.warmup_rate,
            "max_tokens": 1024,
            "seed": 0,
        }

    def rl_spec(self, arm: Arm, *, seed: int, data: Datasets, models: Models, max_tokens: int) -> dict[str, Any]:
        """Write the body of POST /v1/train for one arm's seed."""
        return {
            "kind": "rl",
            "name": f"experiment: {arm.name}, seed {seed}",
            "dataset": data.train,
            "splits": {"select": data.select, "gate": data.gate},
            "teacher": models.teacher,
            "student": models.student,
            "target_name": f"{arm.name}-seed-{seed}".replace(".", "-"),
            "steps": self.rl_steps if arm.name == MAIN else self.ablation_steps,
            "questions_per_step": self.questions_per_step,
            "samples_per_question": self.samples_per_question,
            "learning_rate": self.rl_rate,
            "beta": self.beta,
            "temperature": self.temperature,
            "max_tokens": max_tokens,
            "reward": dict(arm.reward),
            "eval_every": self.eval_every,
            "seed": seed,
        }


def rows_name(arm: str, *, seed: int) -> str:
    """Name an arm's file of rows, without ending."""
    return f"{arm}-{seed}"


def kl(weight: float) -> dict[str, float]:
    """Give the coefficients of the KL by the weight of its mean."""
    return {"kl_mean": weight, "kl_max": weight / 100.0}
