"""`rlt solve`: ask a student."""

from typing import Annotated, Any

import typer
from rich.text import Text

from rlt_client.cli import completions
from rlt_client.cli.state import Json, print_json, state_of


def solve(
    context: typer.Context,
    question: Annotated[str, typer.Option("--question", "-q", help="The question.")],
    student: Annotated[
        str | None, typer.Option(help="Alias, name or name@number. [default]", autocompletion=completions.names)
    ] = None,
    samples: Annotated[int | None, typer.Option("-n", "--samples", help="Solutions to sample. [1]")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy, else at least 0.01. [0.7]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Thought and solution, in tokens. [512]")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same solutions.")] = None,
    as_json: Json = False,
) -> None:
    """Let a student think a question through and solve it by itself.

    Example: `rlt solve -q "What is 17 + 25?" --student pupil@1`
    """
    state = state_of(context)
    body: dict[str, Any] = {"question": question, "student": student, "n": samples}
    body |= {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    with state.client() as client:
        answer = client.solve.create({name: value for name, value in body.items() if value is not None})
    if as_json:
        print_json(answer)
        return
    for found in answer.solutions:
        state.out.print(f"[{found.index + 1}/{len(answer.solutions)}]", style="bold", markup=False)
        state.out.print(Text(found.thought), style="dim")
        ended = f"no solution, ended by {found.finish_reason}"
        state.out.print(Text(ended if found.solution is None else found.solution))
    state.out.print(
        f"{answer.student.version} · {answer.engine.name} {answer.engine.version}", style="dim", markup=False
    )
