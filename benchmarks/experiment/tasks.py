"""Own the tasks: questions with worked steps and solutions, and a program that tells whether an explanation is right.

Each makes as many rows as are asked for, the same for the same seed; rows of one seed share no question with another
seed's unless that is said. Nothing is fetched: GSM8K and countdown come from a folder that is given.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlt_client.demo.questions import Question, check_steps, generate_questions

_EQUATION = re.compile(r"(-?\d+(?:\.\d+)?(?:\s*[-+*/x]\s*-?\d+(?:\.\d+)?)+)\s*=\s*\$?(-?\d+(?:\.\d+)?)")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[-+*/x]")
CLOSE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question of a task."""

    id: str
    question: str
    solution: str
    trace: str
    steps_right: Callable[[str], bool] | None
    """Whether an explanation has equations and all of them are true; None where no program can tell."""
    chain_right: Callable[[str], bool] | None
    """Whether these are the question's own steps; None where there are several ways."""

    def uploaded(self) -> dict[str, str]:
        """Give the row as a dataset takes it."""
        return {"id": self.id, "question": self.question, "solution": self.solution, "reasoning_trace": self.trace}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A kind of question, with the longest completion that its explanations need."""

    name: str
    rows: Callable[[int, int], list[Row]]
    """Count and seed to rows."""
    max_tokens: int


def sums(steps: int) -> Task:
    """Make sums and differences in words, of so many steps: the demonstration's."""

    def rows(count: int, seed: int) -> list[Row]:
        made = generate_questions(count=count, seed=seed, steps=steps, id_prefix=f"sums{steps}-{seed}")
        return [_of_question(question) for question in made]

    return Task(name=f"sums-{steps}", rows=rows, max_tokens=32 + 16 * steps)


def arithmetic(terms: int) -> Task:
    """Make plain chains of small numbers, "7 + 12 - 5 = ?", worked from left to right."""

    def rows(count: int, seed: int) -> list[Row]:
        generator = random.Random(f"arithmetic {terms} {seed}")
        found: dict[str, Row] = {}
        while len(found) < count:
            row = _chain(generator, terms=terms, row_id=f"arithmetic{terms}-{seed}-{len(found)}")
            found.setdefault(row.question, row)
        return list(found.values())

    return Task(name=f"arithmetic-{terms}", rows=rows, max_tokens=24 + 14 * terms)


def from_file(path: Path, *, name: str, max_tokens: int, longest_trace: int) -> Task:
    """Take rows of a file {"id", "question", "solution", "answer"}; the worked solution is the trace."""

    def rows(count: int, seed: int) -> list[Row]:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        short = [line for line in lines if len(line["solution"]) <= longest_trace]
        random.Random(f"{name} {seed}").shuffle(short)
        if len(short) < count:
            raise ValueError(f"{path.name} has {len(short)} rows with traces of up to {longest_trace} characters")
        return [
            Row(
                id=str(line["id"]),
                question=line["question"],
                solution=f"The answer is {line['answer']}.",
                trace=line["solution"],
                steps_right=equations_hold,
                chain_right=None,
            )
            for line in short[:count]
        ]

    return Task(name=name, rows=rows, max_tokens=max_tokens)


def tasks(data: Path) -> dict[str, Task]:
    """Name the candidates of the pilot."""
    found: Sequence[Task] = (
        sums(2),
        sums(3),
        arithmetic(3),
        from_file(data / "gsm8k_train.jsonl", name="gsm8k-short", max_tokens=96, longest_trace=160),
        from_file(data / "countdown_train.jsonl", name="countdown", max_tokens=96, longest_trace=160),
    )
    return {task.name: task for task in found}


def equations_hold(text: str) -> bool:
    """Tell whether a text has an equation, and each of its equations is true."""
    found = _EQUATION.findall(text)
    return bool(found) and all(abs(_value(left) - float(right)) < CLOSE for left, right in found)


def _value(expression: str) -> float:
    """Work an expression of numbers out, products before sums; not finite where it divides by 0."""
    parts = _TOKEN.findall(expression)
    sign = -1.0 if parts[0] == "-" else 1.0
    parts = parts[1:] if parts[0] in "-+" else parts
    terms = [sign * float(parts[0])]
    for operator, number in zip(parts[1::2], parts[2::2], strict=False):
        value = float(number)
        if operator in "*x":
            terms[-1] *= value
        elif operator == "/":
            terms[-1] = terms[-1] / value if value else float("nan")
        else:
            terms.append(value if operator == "+" else -value)
    return sum(terms)


def _of_question(question: Question) -> Row:
    return Row(
        id=question.id,
        question=question.question,
        solution=question.solution,
        trace=question.trace,
        steps_right=lambda text: check_steps(text, question=question).steps_right,
        chain_right=lambda text: check_steps(text, question=question).chain_right,
    )


def _chain(generator: random.Random, *, terms: int, row_id: str) -> Row:
    value = generator.randint(2, 20)
    text, trace, steps = str(value), [], []
    for _ in range(terms - 1):
        change = generator.randint(1, 12) * generator.choice((1, -1))
        change = abs(change) if value + change < 0 else change
        sign = "+" if change > 0 else "-"
        text += f" {sign} {abs(change)}"
        trace.append(f"{value} {sign} {abs(change)} = {value + change}.")
        steps.append((float(value), float(value + change)))
        value += change
    solution = f"The answer is {value}."

    def chain_right(explanation: str) -> bool:
        found = [(_first(left), float(right)) for left, right in _EQUATION.findall(explanation)]
        return equations_hold(explanation) and found == steps

    return Row(
        id=row_id,
        question=f"What is {text}?",
        solution=solution,
        trace=" ".join(trace),
        steps_right=equations_hold,
        chain_right=chain_right,
    )


def _first(expression: str) -> float:
    return float(_TOKEN.findall(expression)[0])
