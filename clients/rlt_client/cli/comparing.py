"""`rlt teachers compare` and `rlt students compare`: two versions on one question, or by their evaluations."""

import json
from typing import Annotated, Any

import typer
from rich.text import Text

from rlt_client import Client
from rlt_client.cli import completions, evaluations, tables
from rlt_client.cli.state import Json, State, print_json, state_of
from rlt_core.schemas.explain import ExplainResponse
from rlt_core.schemas.score import ScoreResponse
from rlt_core.schemas.solve import SolveResponse

Versions = Annotated[
    list[str],
    typer.Argument(
        help="Aliases, names or name@number; without --question also ids of evaluations.",
        metavar="VERSION…",
        autocompletion=completions.names,
    ),
]
Question = Annotated[str | None, typer.Option("--question", "-q", help="Ask all of them this; else: evaluations.")]
Seed = Annotated[int, typer.Option(help="The same for all of them.")]


def teachers(
    context: typer.Context,
    versions: Versions,
    question: Question = None,
    solution: Annotated[str | None, typer.Option("--solution", "-s", help="The question's solution.")] = None,
    student: Annotated[str | None, typer.Option(help="Who scores. [default]", autocompletion=completions.names)] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    max_tokens: Annotated[int | None, typer.Option(help="Longest explanation. [512]")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Let versions explain the same question and a student score it; or lay their evaluations side by side.

    Examples: `rlt teachers compare base@0 algebra@3 -q "17 + 25?" -s 42` · `rlt teachers compare base@0 algebra@3`
    """
    _at_least_two(versions)
    state = state_of(context)
    if question is None:
        _by_evaluations(versions, state=state, as_json=as_json)
        return
    if solution is None:
        raise typer.BadParameter("--question needs the --solution, which teachers are given")
    asked: dict[str, Any] = {"question": question, "solution": solution}
    options: dict[str, Any] = {"temperature": temperature, "seed": seed}
    options |= {} if max_tokens is None else {"max_tokens": max_tokens}
    judge = {} if student is None else {"student": student}
    found = list[tuple[str, ExplainResponse, ScoreResponse]]()
    with state.client() as client:
        for version in versions:
            answer = client.explain.create({**asked, **options, "teacher": version})
            texts = [answer.explanations[0].text]
            score = client.score.create({**asked, **judge, "explanations": texts, "teacher": version, "baseline": True})
            found.append((version, answer, score))
    if as_json:
        data = [
            {"asked": name, "explain": answer.model_dump(mode="json"), "score": score.model_dump(mode="json")}
            for name, answer, score in found
        ]
        print_json({"object": "list", "data": data})
        return
    for _, answer, _ in found:
        state.out.print(answer.teacher.version, style="bold", markup=False)
        state.out.print(Text(answer.explanations[0].text.strip()))
    rows = [_score_row(answer, score) for _, answer, score in found]
    tables.show(("version", "reward", "r_ss", "r_kl", "format", "uplift", "tokens"), rows, out=state.out)
    by = found[0][2]
    state.out.print(f"scored by {by.student.version} · {by.engine.name} {by.engine.version}", style="dim", markup=False)


def students(
    context: typer.Context,
    versions: Versions,
    question: Question = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    max_tokens: Annotated[int | None, typer.Option(help="Thought and solution, in tokens. [512]")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Let versions solve the same question; or lay their evaluations side by side, paired by question.

    Examples: `rlt students compare base@0 pupil@1 -q "17 + 25?"` · `rlt students compare pupil@1 pupil@2`
    """
    _at_least_two(versions)
    state = state_of(context)
    if question is None:
        _by_evaluations(versions, state=state, as_json=as_json)
        return
    body: dict[str, Any] = {"question": question, "temperature": temperature, "seed": seed}
    body |= {} if max_tokens is None else {"max_tokens": max_tokens}
    with state.client() as client:
        found = [_solved(client, body | {"student": version}) for version in versions]
    if as_json:
        print_json({"object": "list", "data": [json.loads(one.model_dump_json()) for one in found]})
        return
    for answer in found:
        solved = answer.solutions[0]
        state.out.print(answer.student.version, style="bold", markup=False)
        state.out.print(Text(solved.thought.strip()), style="dim")
        ended = f"no solution, ended by {solved.finish_reason}"
        state.out.print(Text(ended if solved.solution is None else solved.solution.strip()))


def _by_evaluations(versions: list[str], *, state: State, as_json: bool) -> None:
    with state.client() as client:
        found = client.evaluations.compare(versions)
    if as_json:
        print_json(found)
    else:
        evaluations.show_comparison(found, out=state.out)


def _at_least_two(versions: list[str]) -> None:
    if len(versions) < 2:
        raise typer.BadParameter("name at least two versions to compare")


def _solved(client: Client, body: dict[str, Any]) -> SolveResponse:
    return client.solve.create(body)


def _score_row(answer: ExplainResponse, score: ScoreResponse) -> tuple[str, ...]:
    one = score.scores[0]
    uplift = "" if one.uplift is None else f"{one.uplift:+.4f}"
    parts = (f"{one.reward:.4f}", f"{one.r_ss:.4f}", f"{one.r_kl:.4f}", f"{one.format:g}")
    return (answer.teacher.version, *parts, uplift, str(answer.usage.completion_tokens))
