"""`rlt train`: hand in a training job, from a file, from flags, or both."""

import inspect
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from rlt_client.cli import completions, forecast, spec_fields, watch
from rlt_client.cli.spec_fields import SpecField
from rlt_client.cli.state import Json, State, print_json, state_of
from rlt_core.schemas.jobs import SPECS

HELP = """Queue a training job.

Each kind has a command that explains its fields, such as `rlt train rl --help`. Or give a file:

A warm-up: `rlt train warmup --role teacher --dataset ds_1 --target algebra --max-steps 20 --watch`

Reinforcement: `rlt train rl --dataset ds_1 --teacher algebra --target algebra --promote.when if_better`

Explanations as a dataset: `rlt train collect --dataset ds_1 --teacher algebra --keep best --watch`

From a file, looked at first: `rlt train --spec job.toml --dry-run`

Several that feed each other: `rlt train --spec examples/specs/full_pipeline.json --watch`
"""
EXAMPLES: Final = {
    "warmup": "rlt train warmup --role teacher --dataset ds_1 --target algebra --watch",
    "rl": "rlt train rl --dataset ds_1 --teacher algebra --target algebra --steps 50 --promote.when if_better",
    "collect": "rlt train collect --dataset ds_1 --teacher algebra --keep best --watch",
    "distill": "rlt train distill --dataset ds_2 --target pupil --epochs 2",
    "evaluate": "rlt train evaluate --dataset ds_3 --models pupil@1 --models pupil@2 --samples 4 --watch",
    "rlvr": "rlt train rlvr --dataset ds_1 --student pupil --target pupil --verdict countdown --steps 50",
}
SUMMARIES: Final = {
    "warmup": "Teach a model the format, from reasoning traces.",
    "rl": "Reinforce a teacher by what a student understands of its explanations.",
    "collect": "Let a teacher explain a dataset's questions; the explanations are a new dataset.",
    "distill": "Teach a student a teacher's explanations as its own thoughts.",
    "evaluate": "Measure what students answer rightly, or what teachers' explanations are worth.",
    "rlvr": "Reinforce a student by whether its own answers are right.",
}
VERSIONS: Final = ("teacher", "student", "model", "models")
"""Fields that name versions, which a shell can complete."""

SpecFile = Annotated[Path | None, typer.Option("--spec", help="The job as a .json or .toml file; flags go over it.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any field, dotted where it is inside one.", metavar="FIELD=VALUE"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, try a few rows, estimate; start nothing.")]
Watching = Annotated[bool, typer.Option("--watch", help="Follow the job to its end.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _HandIn:
    dry_run: bool
    watching: bool
    as_json: bool


def build() -> typer.Typer:
    """Put the group together: itself takes a file, each kind is a command."""
    group = typer.Typer(help=HELP, no_args_is_help=True, invoke_without_command=True)
    group.callback()(train)
    for kind in SPECS:
        group.command(kind, help=f"{SUMMARIES[kind]}\n\nExample: `{EXAMPLES[kind]}`")(_command(kind))
    return group


def train(
    context: typer.Context,
    spec: SpecFile = None,
    kind: Annotated[
        str | None, typer.Option(help="`warmup`, `rl`, `collect`, `distill`, `evaluate`, `rlvr` or `pipeline`.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="The id that `rlt datasets upload` gave.", autocompletion=completions.datasets),
    ] = None,
    target_name: Annotated[str | None, typer.Option("--target", help="Name of the versions to be made.")] = None,
    role: Annotated[str | None, typer.Option(help="warmup: `teacher` or `student`.")] = None,
    teacher: Annotated[str | None, typer.Option(help="rl: where it starts; collect: who explains. [default]")] = None,
    student: Annotated[str | None, typer.Option(help="rl, collect: who judges; rlvr: its start. [default]")] = None,
    steps: Annotated[int | None, typer.Option(help="rl, rlvr: optimizer steps. [10]")] = None,
    settings: Settings = None,
    dry_run: DryRun = False,
    watching: Watching = False,
    as_json: Json = False,
) -> None:
    """Queue what a file or a few flags say; `HELP` is what people read."""
    flags = {"kind": kind, "dataset": dataset, "target_name": target_name, "role": role}
    flags |= {"teacher": teacher, "student": student, "steps": steps}
    stated = {name: value for name, value in flags.items() if value is not None}
    how = _HandIn(dry_run=dry_run, watching=watching, as_json=as_json)
    if context.invoked_subcommand is not None:
        if stated or spec is not None or settings or dry_run or watching or as_json:
            raise typer.BadParameter(f"write options behind `{context.invoked_subcommand}`, not before it")
        return
    _hand_in(_body(spec, flags=stated, settings=settings), how=how, state=state_of(context))


def _command(kind: str) -> Callable[..., None]:
    """Make the command of one kind: a flag for each field of its spec."""
    fields = list(spec_fields.fields_of(SPECS[kind]))

    def command(context: typer.Context, **values: Any) -> None:
        flags = {"kind": kind} | spec_fields.given(values, fields)
        how = _HandIn(dry_run=values["dry_run"], watching=values["watching"], as_json=values["as_json"])
        body = _body(values["spec"], flags=flags, settings=values["settings"])
        _hand_in(body, how=how, state=state_of(context))

    own = {"spec": (SpecFile, None), "settings": (Settings, None), "dry_run": (DryRun, False)}
    own |= {"watching": (Watching, False), "as_json": (Json, False)}
    described = {field.parameter: (_annotation(field), None) for field in fields} | own
    parameters = [inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    for name, (annotation, default) in described.items():
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        )
    command.__signature__ = inspect.Signature(parameters)  # typer reads it
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _annotation(field: SpecField) -> Any:
    completion = None
    if field.path == ("dataset",):
        completion = completions.datasets
    elif len(field.path) == 1 and field.path[0] in VERSIONS:
        completion = completions.names
    panel = f"{field.path[0]}: fields inside it" if len(field.path) > 1 else "Fields of the job"
    option = typer.Option(
        "--target" if field.path == ("target_name",) else field.option,
        help=field.words,
        metavar=field.shown_type,
        rich_help_panel=panel,
        autocompletion=completion,
    )
    return Annotated[field.type | None, option]


def _body(spec: Path | None, *, flags: dict[str, Any], settings: list[str] | None) -> dict[str, Any]:
    body = _read(spec) if spec is not None else {}
    _merge(body, flags)
    for setting in settings or []:
        _set(body, setting)
    return body


def _merge(body: dict[str, Any], flags: dict[str, Any]) -> None:
    """Lay flags over what a file says, field by field inside what is nested."""
    for name, value in flags.items():
        below = body.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            _merge(below, value)  # pyright: ignore[reportUnknownArgumentType] - JSON of a caller
        else:
            body[name] = value


def _hand_in(body: dict[str, Any], *, how: _HandIn, state: State) -> None:
    with state.client() as client:
        if how.dry_run:
            found = client.train(body, dry_run=True)
            if how.as_json:
                print_json(found)
            else:
                forecast.show(found, out=state.out)
            return
        job = client.train(body)
        if how.watching:
            if not how.as_json:
                state.out.print(f"{job.id} {job.status}", markup=False)
            job = watch.follow(client, job.id, state=state, quiet=how.as_json)
        elif not how.as_json:
            state.out.print(f"{job.id} {job.status}; follow it with `rlt jobs watch {job.id}`", markup=False)
        if how.as_json and not how.watching:
            print_json(job)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        read = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}") from error
    if not isinstance(read, dict):
        raise typer.BadParameter(f"{path} holds a {type(read).__name__}, where a job is an object of fields")
    return read  # pyright: ignore[reportUnknownVariableType] - JSON of a caller


def _set(body: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--set {setting}: write FIELD=VALUE, such as --set max_steps=20")
    try:
        spec_fields.put(body, tuple(name.split(".")), spec_fields.value_of(text))
    except ValueError as error:
        raise typer.BadParameter(f"--set {setting}: {error}") from error
