"""Own what is trained in `make bench-train`: one task for all, small enough for two cores."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from rlt_client.demo.questions import generate_questions
from rlt_core.schemas.datasets import DatasetRow

LORA_RANK, LORA_ALPHA = 16, 32.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Sizes of a step; one step is questions x samples completions."""

    steps: int
    questions: int = 64
    questions_per_step: int = 4
    samples_per_question: int = 8
    max_tokens: int = 64
    temperature: float = 0.7
    beta: float = 0.04
    learning_rate: float = 1e-5
    """Small: what is compared is time, and texts shall stay as long as they are."""
    micro_batch: int = 8
    """Completions of the rival's forward and backward pass; ours chooses its own."""
    seed: int = 0

    def rows(self) -> list[DatasetRow]:
        """Make the questions, with worked steps and solutions."""
        return [
            DatasetRow(id=f"q{number}", question=made.question, solution=made.solution, reasoning_trace=made.trace)
            for number, made in enumerate(generate_questions(count=self.questions, seed=self.seed, steps=2))
        ]

    def spec(self, *, dataset: str) -> dict[str, Any]:
        """Write the body of POST /v1/train."""
        return {
            "kind": "rl",
            "name": "bench-train",
            "dataset": dataset,
            "teacher": "base@0",
            "student": "base@0",
            "target_name": "bench-train",
            "steps": self.steps,
            "questions_per_step": self.questions_per_step,
            "samples_per_question": self.samples_per_question,
            "learning_rate": self.learning_rate,
            "beta": self.beta,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "lora": {"rank": LORA_RANK, "alpha": LORA_ALPHA},
            "save_every": 0,
            "seed": self.seed,
        }

    def to_json(self) -> str:
        """Write it for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))
