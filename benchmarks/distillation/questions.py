"""Own the parts of a task's questions, and the columns by which a rule can judge answers to them. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.distillation.plan import Asked, Plan
from benchmarks.experiment.tasks import Row, Task, divided

_GAME = re.compile(r"numbers \[([\d, ]+)\].* equals (\d+)")
_BEFORE, _AFTER = "The answer is ", "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The questions, none in two parts; all but `curve` are those of `make experiment-rl` (docs/decisions/0028)."""

    pilot: Sequence[Row]
    pilot_held_out: Sequence[Row]
    train: Sequence[Row]
    """That the teachers were trained on, are explained, and students learn from."""
    practice: Sequence[Row]
    """That students are reinforced on: those by which a teacher's version was chosen; no student has seen them."""
    report: Sequence[Row]
    curve: Sequence[Row]


def parts_of(task: Task, *, plan: Plan) -> Parts:
    """Cut one draw of rows: the teachers' parts come first, so that they are theirs to the row."""
    sizes = plan.teachers.sizes() | {"curve": plan.curve_questions}
    found = divided(task, sizes=sizes, seed=plan.teachers.data_seed)
    return Parts(
        pilot=found["pilot"],
        pilot_held_out=found["pilot_held_out"],
        train=found["train"],
        practice=[*found["select"], *found["gate"]],
        report=found["report"],
        curve=found["curve"],
    )


def asked_of(task: Task, *, plan: Plan) -> Asked:
    """Say how students are asked a task's questions; countdown has many right answers, which the game decides."""
    verdict = "countdown" if task.name == "countdown" else "math_verify"
    return Asked(max_tokens=task.max_tokens + plan.answer_tokens, verdict=verdict)


def answer_of(row: Row) -> str:
    """Give what stands in the solution's sentence; ValueError where it is another sentence."""
    if not (row.solution.startswith(_BEFORE) and row.solution.endswith(_AFTER)):
        raise ValueError(f"{row.id}: {row.solution!r} does not begin with {_BEFORE!r} and end with {_AFTER!r}")
    return row.solution.removeprefix(_BEFORE).removesuffix(_AFTER)


def uploaded(row: Row, *, thought: str | None = None) -> dict[str, Any]:
    """Give the row as a dataset takes it, with what a verdict needs; `thought` takes the worked steps' place."""
    columns: dict[str, Any] = dict(row.uploaded()) | {"answer": answer_of(row)} | _game_of(row.question)
    return columns if thought is None else columns | {"reasoning_trace": thought}


def _game_of(question: str) -> Mapping[str, Any]:
    found = _GAME.search(question)
    if found is None:
        return {}
    return {"nums": [int(number) for number in found[1].split(",")], "target": int(found[2])}
