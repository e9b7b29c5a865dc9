"""`rlt explain`: ask a teacher."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.text import Text

from rlt_client.cli import completions
from rlt_client.cli.state import Json, State, print_json, state_of
from rlt_core.schemas.explain import ExplainDone, ExplainEvent, ExplainResponse, Explanation, ExplanationDelta


def explain(
    context: typer.Context,
    question: Annotated[str, typer.Option("--question", "-q", help="The question.")],
    solution: Annotated[str, typer.Option("--solution", "-s", help="Its solution, which the teacher is given.")],
    teacher: Annotated[
        str | None, typer.Option(help="Alias, name or name@number. [default]", autocompletion=completions.names)
    ] = None,
    samples: Annotated[int | None, typer.Option("-n", "--samples", help="Explanations to sample. [1]")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy, else at least 0.01. [0.7]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest explanation, in tokens. [512]")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same explanations.")] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print while it is written; with --json, every event.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a teacher explain how a question leads to its solution.

    Example: `rlt explain -q "What is 17 + 25?" -s "42" -n 2 --teacher algebra@3`
    """
    state = state_of(context)
    body: dict[str, Any] = {"question": question, "solution": solution, "teacher": teacher, "n": samples}
    body |= {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    given = {name: value for name, value in body.items() if value is not None}
    with state.client() as client:
        if stream:
            _follow(client.explain.stream(**given), samples=samples or 1, state=state, as_json=as_json)
            return
        answer = client.explain.create(given)
    if as_json:
        print_json(answer)
    else:
        _show(answer, state=state)


def _follow(events: Iterable[ExplainEvent], *, samples: int, state: State, as_json: bool) -> None:
    """Print a stream: one explanation as it is written, several each when it is whole, or they would run together."""
    for event in events:
        if as_json:
            typer.echo(event.model_dump_json())
        elif isinstance(event, ExplanationDelta):
            if samples == 1:
                state.out.print(Text(event.text), end="")
        elif isinstance(event, Explanation):
            if samples == 1:
                state.out.print("".join(f"\n[{note}]" for note in _notes(event)), style="bold", markup=False)
            else:
                _show_one(event, of=samples, state=state)
        else:
            _show_end(event, state=state)


def _show(answer: ExplainResponse, *, state: State) -> None:
    for explanation in answer.explanations:
        _show_one(explanation, of=len(answer.explanations), state=state)
    _show_end(answer, state=state)


def _show_one(explanation: Explanation, *, of: int, state: State) -> None:
    state.out.print(
        f"[{explanation.index + 1}/{of}]" + "".join(f" {note}" for note in _notes(explanation)),
        style="bold",
        markup=False,
    )
    state.out.print(Text(explanation.text.strip()))


def _notes(explanation: Explanation) -> list[str]:
    notes = [] if explanation.well_formed else ["closing tag missing"]
    return notes + ([] if explanation.finish_reason == "stop" else [f"ended by {explanation.finish_reason}"])


def _show_end(answer: ExplainResponse | ExplainDone, *, state: State) -> None:
    usage = answer.usage
    state.out.print(
        f"{answer.teacher.version} · {answer.engine.name} {answer.engine.version} · "
        f"{usage.prompt_tokens} tokens read, {usage.completion_tokens} written",
        style="dim",
        markup=False,
    )
