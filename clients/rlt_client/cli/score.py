"""`rlt score`: let a student judge explanations, token by token."""

from typing import Annotated, Any

import typer

from rlt_client.cli import completions, tables, tokens
from rlt_client.cli.state import Json, State, print_json, state_of
from rlt_core.schemas.score import Score, ScoreResponse


def score(
    context: typer.Context,
    question: Annotated[str, typer.Option("--question", "-q", help="The question.")],
    solution: Annotated[
        str, typer.Option("--solution", "-s", help="Its solution, which the student should find likely.")
    ],
    explanations: Annotated[list[str], typer.Option("--explanation", "-e", help="To be judged; may be repeated.")],
    student: Annotated[
        str | None, typer.Option(help="Alias, name or name@number. [default]", autocompletion=completions.names)
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Also compare with this teacher's log-probs (KL).", autocompletion=completions.names),
    ] = None,
    baseline: Annotated[bool, typer.Option(help="Also score without an explanation, and show the uplift.")] = True,
    as_table: Annotated[bool, typer.Option("--table", help="List every token with its figures.")] = False,
    as_json: Json = False,
) -> None:
    """Score explanations by how likely they make the solution to a student.

    On a terminal each token has a colour, or with NO_COLOR a mark, by what the student finds hard; --table and a pipe
    give a row a token.

    Example: `rlt score -q "What is 17 + 25?" -s "42" -e "17 + 20 is 37, and 5 more is 42." --teacher default`
    """
    state = state_of(context)
    body: dict[str, Any] = {"question": question, "solution": solution, "explanations": explanations}
    body |= {"student": student, "teacher": teacher, "baseline": baseline, "include": ["tokens"]}
    with state.client() as client:
        answer = client.score.create({name: value for name, value in body.items() if value is not None})
    if as_json:
        print_json(answer)
        return
    for found in answer.scores:
        _show(found, state=state, as_table=as_table or not state.out.is_terminal)
    _show_source(answer, state=state)


def _show(found: Score, *, state: State, as_table: bool) -> None:
    parts = [f"r_ss {found.r_ss:.4f}", f"r_kl {found.r_kl:.4f}", f"format {found.format:g}"]
    parts += [f"uplift {found.uplift:+.4f}"] if found.uplift is not None else []
    state.out.print(f"[{found.index + 1}] reward {found.reward:.4f}", style="bold", markup=False, end="")
    state.out.print(f"  ({', '.join(parts)})", markup=False)
    if found.tokens:
        if as_table:
            tables.show(tokens.ROWS_HEAD, tokens.rows(found.tokens), out=state.out)
            return
        colours = state.out.color_system is not None and not state.out.no_color
        state.out.print(tokens.shown(found.tokens, width=state.out.width, colours=colours))


def _show_source(answer: ScoreResponse, *, state: State) -> None:
    by = f"student {answer.student.version}" + (f", teacher {answer.teacher.version}" if answer.teacher else "")
    terms = " + ".join(answer.terms)
    state.out.print(
        f"{by} · {answer.engine.name} {answer.engine.version} · reward of {terms}", style="dim", markup=False
    )
