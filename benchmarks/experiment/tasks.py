"""Own the tasks: questions with worked steps and solutions, and what a program can tell of an explanation of them.

Each makes as many rows as are asked for, no question twice, the same for the same seed. Nothing is fetched: GSM8K and
countdown come from a folder that is given.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.experiment.equations import ends_at, equations_hold, same_equations
from rlt_client.demo.questions import generate_questions


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question of a task."""

    id: str
    question: str
    solution: str
    trace: str
    one_way: bool
    """Whether there is one chain of steps, so that a program can tell it."""

    def uploaded(self) -> dict[str, str]:
        """Give the row as a dataset takes it."""
        return {"id": self.id, "question": self.question, "solution": self.solution, "reasoning_trace": self.trace}

    def judged(self, text: str) -> dict[str, bool | None]:
        """Tell of an explanation: all its steps right, ends at the solution, is the question's own chain of steps."""
        right = equations_hold(text)
        return {
            "steps_right": right,
            "ends_at_answer": ends_at(text, solution=self.solution),
            "chain_right": right and same_equations(text, trace=self.trace) if self.one_way else None,
        }


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
        return [
            Row(id=one.id, question=one.question, solution=one.solution, trace=one.trace, one_way=True) for one in made
        ]

    return Task(name=f"sums-{steps}", rows=rows, max_tokens=32 + 16 * steps)


def arithmetic(terms: int) -> Task:
    """Make plain chains of small numbers, "7 + 12 - 5 = ?", worked from left to right, as reasoning-gym's."""

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
        by_question = {line["question"]: line for line in lines if len(line["solution"]) <= longest_trace}
        short = list(by_question.values())
        random.Random(f"{name} {seed}").shuffle(short)
        if len(short) < count:
            raise ValueError(
                f"{path.name} has {len(short)} rows with traces of up to {longest_trace} characters, {count} are needed"
            )
        return [
            Row(
                id=str(line["id"]),
                question=line["question"],
                solution=f"The answer is {line['answer']}.",
                trace=line["solution"],
                one_way=False,
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
        from_file(data / "gsm8k_train.jsonl", name="gsm8k", max_tokens=128, longest_trace=300),
        from_file(data / "countdown_train.jsonl", name="countdown", max_tokens=96, longest_trace=160),
    )
    return {task.name: task for task in found}


def divided(task: Task, *, sizes: Mapping[str, int], seed: int) -> dict[str, list[Row]]:
    """Cut one draw of rows into parts of the sizes given: no question is in two of them."""
    rows, start = task.rows(sum(sizes.values()), seed), 0
    found: dict[str, list[Row]] = {}
    for name, size in sizes.items():
        found[name] = rows[start : start + size]
        start += size
    return found


def _chain(generator: random.Random, *, terms: int, row_id: str) -> Row:
    value = generator.randint(2, 20)
    text, trace = str(value), list[str]()
    for _ in range(terms - 1):
        change = generator.randint(1, 12) * generator.choice((1, -1))
        change = abs(change) if value + change < 0 else change
        sign = "+" if change > 0 else "-"
        text += f" {sign} {abs(change)}"
        trace.append(f"{value} {sign} {abs(change)} = {value + change}.")
        value += change
    return Row(
        id=row_id,
        question=f"What is {text}?",
        solution=f"The answer is {value}.",
        trace=" ".join(trace),
        one_way=True,
    )
