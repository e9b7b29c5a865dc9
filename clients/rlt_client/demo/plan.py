"""Own the demonstration's sizes: what fits a quarter of an hour on two cores."""

from dataclasses import dataclass, field
from typing import Any

BUDGET_S = 840.0
"""What the whole demonstration may take, with a minute to spare."""

FEWEST_RL_STEPS = 4
RL_STEP_COST = 4.0
"""Time of a step of 32 rollouts, in steps of the warm-up with 8 rows (measured: 15 s against 4 s)."""

REST_COST = 22.0
"""Time of gate and closing measurement, in steps of the warm-up (measured: 85 s against 4 s)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """Sizes and coefficients of one demonstration."""

    train_questions: int = 256
    gate_questions: int = 24
    report_questions: int = 32
    student_steps: int = 10
    teacher_steps: int = 14
    batch_size: int = 8
    warmup_learning_rate: float = 5e-4
    rl_steps: int = 10
    """At most; `affordable_rl_steps` takes fewer on a slow machine."""
    questions_per_step: int = 4
    samples_per_question: int = 8
    rl_learning_rate: float = 2e-4
    beta: float = 0.04
    max_tokens: int = 64
    """Longest completion, closing tag included."""
    temperature: float = 0.7
    seed: int = 0
    reward: dict[str, float] = field(default_factory=lambda: {"kl_mean": 0.3, "kl_max": 0.003})
    """On explanations of thirty tokens a mean KL weighs far more than on the paper's thousands: a tenth of it."""

    def warmup_spec(self, *, role: str, dataset: str) -> dict[str, Any]:
        """Write the body of POST /v1/train for a warm-up."""
        steps = self.student_steps if role == "student" else self.teacher_steps
        return {
            "kind": "warmup",
            "name": f"demo: warm-up of the {role}",
            "role": role,
            "dataset": dataset,
            "target_name": f"demo-{role}",
            "epochs": 100,
            "max_steps": steps,
            "batch_size": self.batch_size,
            "learning_rate": self.warmup_learning_rate,
            "max_tokens": 512,
            "seed": self.seed,
            "splits": {"gate": self.gate_fraction},
        }

    def affordable_rl_steps(self, *, elapsed_s: float, warmup_step_s: float) -> int:
        """Choose how many steps of reinforcement leave time for what comes after, from the speed seen so far."""
        left_s = BUDGET_S - elapsed_s - REST_COST * warmup_step_s
        return max(FEWEST_RL_STEPS, min(self.rl_steps, int(left_s / (RL_STEP_COST * warmup_step_s))))

    def rl_spec(self, *, dataset: str, teacher: str, student: str, steps: int) -> dict[str, Any]:
        """Write the body of POST /v1/train for the reinforcement."""
        return {
            "kind": "rl",
            "name": "demo: reinforcement of the teacher",
            "dataset": dataset,
            "teacher": teacher,
            "student": student,
            "target_name": "demo-teacher",
            "steps": steps,
            "questions_per_step": self.questions_per_step,
            "samples_per_question": self.samples_per_question,
            "learning_rate": self.rl_learning_rate,
            "beta": self.beta,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "reward": self.reward,
            "seed": self.seed,
            "save_every": 0,
            "splits": {"gate": self.gate_fraction},
            "promote": {"alias": "default", "when": "if_better"},
        }

    @property
    def gate_fraction(self) -> float:
        """Share of the uploaded rows that training never sees."""
        return self.gate_questions / (self.train_questions + self.gate_questions)
