"""Generate the demonstration's questions, and check by program whether an explanation's steps are right.

Sums and differences in words are what a model of 135M parameters can work with; nothing is taken from outside.
"""

import random
import re
from dataclasses import dataclass

NAMES = ("Ada", "Ben", "Carla", "Dan", "Eva", "Finn", "Gina", "Hugo", "Ines", "Jon", "Kira", "Leo", "Mia", "Nils")
THINGS = ("coins", "books", "apples", "cards", "shells", "stamps", "pens", "marbles", "buttons", "stones")
GAINS = ("finds", "buys", "wins", "gets", "collects")
LOSSES = ("sells", "loses", "gives away", "drops", "lends")
LARGEST_START = 20
LARGEST_CHANGE = 12

_EQUATION = re.compile(r"(-?\d+)\s*([+\-])\s*(\d+)\s*=\s*(-?\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question with its worked steps; `steps` are (left, change, result) with the change signed."""

    id: str
    question: str
    solution: str
    trace: str
    steps: tuple[tuple[int, int, int], ...]

    def to_row(self) -> dict[str, str]:
        """Give the row as it is uploaded."""
        return {"id": self.id, "question": self.question, "solution": self.solution, "reasoning_trace": self.trace}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCheck:
    """What a program finds in an explanation's arithmetic."""

    equations: int
    steps_right: bool
    """At least one equation, and each is true."""
    chain_right: bool
    """The equations are the question's own, in order, and all true."""


def generate_questions(*, count: int, seed: int, steps: int = 2, id_prefix: str = "q") -> list[Question]:
    """Make `count` questions that differ from each other, the same for the same seed."""
    generator = random.Random(seed)
    found: dict[str, Question] = {}
    while len(found) < count:
        candidate = _question(generator, steps=steps, question_id=f"{id_prefix}-{len(found)}")
        found.setdefault(candidate.question, candidate)
    return list(found.values())


def check_steps(text: str, *, question: Question) -> StepCheck:
    """Read each `a + b = c` in `text` and hold it against arithmetic and against the question's steps."""
    equations = [
        (int(left), int(change) if sign == "+" else -int(change), int(result))
        for left, sign, change, result in _EQUATION.findall(text)
    ]
    true = [left + change == result for left, change, result in equations]
    return StepCheck(
        equations=len(equations),
        steps_right=bool(equations) and all(true),
        chain_right=tuple(equations) == question.steps,
    )


def _question(generator: random.Random, *, steps: int, question_id: str) -> Question:
    name, thing = generator.choice(NAMES), generator.choice(THINGS)
    value = generator.randint(5, LARGEST_START)
    sentences = [f"{name} has {value} {thing}."]
    worked: list[tuple[int, int, int]] = []
    for _ in range(steps):
        change = generator.randint(1, LARGEST_CHANGE)
        if value > change and generator.random() < 0.5:
            change = -change
        verb = generator.choice(GAINS if change > 0 else LOSSES)
        sentences.append(f"{name} {verb} {abs(change)} {thing}.")
        worked.append((value, change, value + change))
        value += change
    lines = [f"{left} {'+' if change > 0 else '-'} {abs(change)} = {result}." for left, change, result in worked]
    return Question(
        id=question_id,
        question=" ".join([*sentences, f"How many {thing} does {name} have now?"]),
        solution=f"The answer is {value}.",
        trace=" ".join([*lines, f"So {name} has {value} {thing} now."]),
        steps=tuple(worked),
    )
