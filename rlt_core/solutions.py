"""Own how a student's completion is read: its thought, its solution, and whether it came to an end. Pure."""

from dataclasses import dataclass

from rlt_core.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSolution:
    """What a student wrote, without tags."""

    thought: str
    solution: str | None
    """Null where it never came, or was never closed."""


def read_solution(text: str, *, format: Format, ended: bool) -> ReadSolution:
    """Read what a student wrote after the opening of its thought; `ended` says that it stopped by itself.

    A solution counts where its thought was closed before it, and it was closed itself; in a format without tags for
    solutions, it is all that follows the thought, and the end of the text is its end.
    """
    thought, closed, rest = text.partition(format.thought_close)
    if not closed:
        return ReadSolution(thought=text.strip(), solution=None)
    if not format.solution_open:
        solution = rest.strip()
        return ReadSolution(thought=thought.strip(), solution=solution if ended and solution else None)
    _, opened, inner = rest.partition(format.solution_open)
    solution, ends, _ = inner.partition(format.solution_close)
    return ReadSolution(thought=thought.strip(), solution=solution.strip() if opened and ends else None)
