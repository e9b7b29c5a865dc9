"""`rlt teachers` and `rlt students`: versions, where they come from, and which one an alias points at."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from rlt_client._client import Client
from rlt_client.cli.state import Json, print_json, state_of
from rlt_core.schemas.base import Role
from rlt_core.schemas.teachers import Alias

AliasName = Annotated[str, typer.Option("--alias", help="The name that is moved.")]


def build(*, role: Role) -> typer.Typer:
    """Put the group of one role together."""
    group = typer.Typer(help=f"{role.capitalize()}s: list, versions, lineage, promote, rollback.", no_args_is_help=True)
    group.callback()(_remember(role))
    commands = (("list", show_list), ("versions", versions), ("lineage", lineage))
    for name, command in (*commands, ("promote", promote), ("rollback", rollback)):
        group.command(name)(command)
    return group


def show_list(context: typer.Context, as_json: Json = False) -> None:
    """List names with their newest version, and the aliases."""
    state, role = state_of(context), _role(context)
    with state.client() as client:
        page = (client.teachers if role == "teacher" else client.students).list()
        aliases = [alias for alias in client.aliases.list().data if alias.role == role]
    if as_json:
        print_json(page)
        return
    table = Table("name", "newest", "versions", box=None)
    for model in page.data:
        table.add_row(model.name, model.latest, str(model.versions))
    state.out.print(table if page.data else f"no {role}s")
    for alias in aliases:
        state.out.print(f"{alias.alias} -> {alias.version}", markup=False)


def versions(
    context: typer.Context, name: Annotated[str, typer.Argument(help="The name.")], as_json: Json = False
) -> None:
    """List the versions of a name, newest first."""
    state, role = state_of(context), _role(context)
    with state.client() as client:
        page = (client.teachers if role == "teacher" else client.students).versions(name)
    if as_json:
        print_json(page)
        return
    table = Table("version", "parent", "job", "created", "aliases", box=None)
    for found in page.data:
        created = f"{found.created_at:%Y-%m-%d %H:%M}"
        table.add_row(found.version, found.parent or "", found.job or "", created, ", ".join(found.aliases))
    state.out.print(table)


def lineage(
    context: typer.Context, version: Annotated[str, typer.Argument(help="name@number.")], as_json: Json = False
) -> None:
    """Say what a version was made from and what became of it."""
    state, role = state_of(context), _role(context)
    with state.client() as client:
        found = (client.teachers if role == "teacher" else client.students).lineage(version)
    if as_json:
        print_json(found)
        return
    facts = {"base": found.base_model, "parent": found.parent, "job": found.job, "dataset": found.dataset}
    facts |= {"code": found.code_version, "evaluations": ", ".join(found.evaluations)}
    state.out.print(found.version, style="bold", markup=False)
    for name, value in facts.items():
        state.out.print(f"  {name}: {value or '-'}", markup=False)
    for change in found.promotions:
        moved = f"{change.alias}: {change.previous or 'new'} -> {change.version}"
        state.out.print(f"  {change.created_at:%Y-%m-%d %H:%M} {moved} by {change.by} ({change.reason})", markup=False)


def promote(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="name@number.")],
    alias: AliasName = "default",
    evaluation: Annotated[str | None, typer.Option(help="Only if this evaluation says it is better.")] = None,
    reason: Annotated[str | None, typer.Option(help="Kept in the alias's history.")] = None,
    as_json: Json = False,
) -> None:
    """Point an alias at a version; nothing restarts, and requests in flight end on the version before.

    Example: `rlt teachers promote algebra@3 --evaluation eval_1`
    """
    state, role = state_of(context), _role(context)
    with state.client() as client:
        before = _points_at(client, role=role, alias=alias)
        moved = client.aliases.put(
            role,
            alias,
            version=version,
            expected=before,
            gate="if_better" if evaluation else "none",
            evaluation=evaluation,
            reason=reason,
        )
    _show_move(moved, before=before, context=context, as_json=as_json)


def rollback(
    context: typer.Context,
    alias: AliasName = "default",
    to: Annotated[str | None, typer.Option(help="name@number; the version before where it is not given.")] = None,
    as_json: Json = False,
) -> None:
    """Point an alias back at the version before."""
    state, role = state_of(context), _role(context)
    with state.client() as client:
        before = _points_at(client, role=role, alias=alias)
        if before is None:
            state.errors.print(f"error: there is no alias {alias} of a {role}", style="red", markup=False)
            raise typer.Exit(1)
        moved = client.aliases.rollback(role, alias, expected=before, to=to)
    _show_move(moved, before=before, context=context, as_json=as_json)


def _remember(role: Role) -> Callable[[typer.Context], None]:
    def callback(context: typer.Context) -> None:
        context.meta["role"] = role

    return callback


def _role(context: typer.Context) -> Role:
    return context.meta["role"]


def _points_at(client: Client, *, role: Role, alias: str) -> str | None:
    found = [entry for entry in client.aliases.list().data if (entry.role, entry.alias) == (role, alias)]
    return found[0].version if found else None


def _show_move(moved: Alias, *, before: str | None, context: typer.Context, as_json: bool) -> None:
    if as_json:
        print_json(moved)
    else:
        state_of(context).out.print(f"{moved.alias}: {before or 'new'} -> {moved.version}", markup=False)
