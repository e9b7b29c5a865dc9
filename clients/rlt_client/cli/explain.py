"""`rlt explain`: ask a teacher."""

from typing import Annotated, Any

import typer
from rich.text import Text

from rlt_client.cli.state import Json, State, print_json, state_of
from rlt_core.schemas.explain import ExplainResponse


def explain(
    context: typer.Context,
    question: Annotated[str, typer.Option("--question", "-q", help="The question.")],
    solution: Annotated[str, typer.Option("--solution", "-s", help="Its solution, which the teacher is given.")],
    teacher: Annotated[str | None, typer.Option(help="Alias, name or name@number. [default]")] = None,
    samples: Annotated[int | None, typer.Option("-n", "--samples", help="Explanations to sample. [1]")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy, else at least 0.01. [0.7]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest explanation, in tokens. [512]")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same explanations.")] = None,
    as_json: Json = False,
) -> None:
    """Let a teacher explain how a question leads to its solution.

    Example: `rlt explain -q "What is 17 + 25?" -s "42" -n 2 --teacher algebra@3`
    """
    state = state_of(context)
    body: dict[str, Any] = {"question": question, "solution": solution, "teacher": teacher, "n": samples}
    body |= {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    with state.client() as client:
        answer = client.explain.create({name: value for name, value in body.items() if value is not None})
    if as_json:
        print_json(answer)
    else:
        _show(answer, state=state)


def _show(answer: ExplainResponse, *, state: State) -> None:
    for explanation in answer.explanations:
        notes = [] if explanation.well_formed else ["closing tag missing"]
        notes += [] if explanation.finish_reason == "stop" else [f"ended by {explanation.finish_reason}"]
        heading = f"[{explanation.index + 1}/{len(answer.explanations)}]" + "".join(f" {note}" for note in notes)
        state.out.print(heading, style="bold", markup=False)
        state.out.print(Text(explanation.text.strip()))
    usage = answer.usage
    state.out.print(
        f"{answer.teacher.version} · {answer.engine.name} {answer.engine.version} · "
        f"{usage.prompt_tokens} tokens read, {usage.completion_tokens} written",
        style="dim",
        markup=False,
    )
