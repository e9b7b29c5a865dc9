"""`rlt train`: hand in a training job, from a file or from flags."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from rlt_client.cli import forecast, watch
from rlt_client.cli.state import Json, print_json, state_of


def train(
    context: typer.Context,
    spec: Annotated[Path | None, typer.Option(help="The job as a .json or .toml file; flags go over it.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="`warmup`, `rl`, `collect`, `distill`, `evaluate`, `rlvr` or `pipeline`.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="The id that `rlt datasets upload` gave.")] = None,
    target_name: Annotated[str | None, typer.Option("--target", help="Name of the versions to be made.")] = None,
    role: Annotated[str | None, typer.Option(help="warmup: `teacher` or `student`.")] = None,
    teacher: Annotated[str | None, typer.Option(help="rl: where it starts; collect: who explains. [default]")] = None,
    student: Annotated[str | None, typer.Option(help="rl, collect: who judges; rlvr: its start. [default]")] = None,
    steps: Annotated[int | None, typer.Option(help="rl, rlvr: optimizer steps. [10]")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other field, dotted where it is inside one.", metavar="FIELD=VALUE"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, try a few rows, estimate; start nothing.")
    ] = False,
    watching: Annotated[bool, typer.Option("--watch", help="Follow the job to its end.")] = False,
    as_json: Json = False,
) -> None:
    """Queue a training job.

    A warm-up: `rlt train --kind warmup --role teacher --dataset ds_1 --target algebra --set max_steps=20 --watch`

    Reinforcement: `rlt train --kind rl --dataset ds_1 --teacher algebra --target algebra --set promote.when=if_better`

    Explanations as a dataset: `rlt train --kind collect --dataset ds_1 --teacher algebra --set keep=best --watch`

    From a file: `rlt train --spec job.toml --dry-run`

    Several that feed each other: `rlt train --spec examples/specs/full_pipeline.json --watch`
    """
    state = state_of(context)
    flags = {"kind": kind, "dataset": dataset, "target_name": target_name, "role": role}
    flags |= {"teacher": teacher, "student": student}
    body = _read(spec) if spec is not None else {}
    body |= {name: value for name, value in flags.items() if value is not None}
    body |= {"steps": steps} if steps is not None else {}
    for setting in settings or []:
        _put(body, setting)
    with state.client() as client:
        if dry_run:
            found = client.train(body, dry_run=True)
            if as_json:
                print_json(found)
            else:
                forecast.show(found, out=state.out)
            return
        job = client.train(body)
        if watching:
            if not as_json:
                state.out.print(f"{job.id} {job.status}", markup=False)
            job = watch.follow(client, job.id, state=state, quiet=as_json)
        if as_json:
            print_json(job)
        elif not watching:
            state.out.print(f"{job.id} {job.status}; follow it with `rlt jobs watch {job.id}`", markup=False)


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


def _put(body: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--set {setting}: write FIELD=VALUE, such as --set max_steps=20")
    *parents, field = name.split(".")
    place = body
    for parent in parents:
        inner: object = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise typer.BadParameter(f"--set {setting}: {parent} is {inner!r}, nothing lies inside it")
        place = cast(dict[str, Any], inner)
    place[field] = _value(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
