"""`rlt teachers` and `rlt students`: versions, where they come from, and which one an alias points at."""

from collections.abc import Callable
from typing import Annotated

import typer

from rlt_client import Client
from rlt_client.cli import comparing, completions, tables
from rlt_client.cli.exit_codes import ExitCode
from rlt_client.cli.messages import RefusedError, did_you_mean
from rlt_client.cli.roles import remember, role_of
from rlt_client.cli.state import Json, print_json, state_of
from rlt_core.schemas.base import Page, Role
from rlt_core.schemas.teachers import Alias, ModelVersion, NamedModel

AliasName = Annotated[str, typer.Option("--alias", help="The name that is moved.")]
VersionName = Annotated[str, typer.Argument(help="name@number.", metavar="VERSION", autocompletion=completions.names)]
PAGE = 100


def build(*, role: Role) -> typer.Typer:
    """Put the group of one role together."""
    group = typer.Typer(
        help=f"{role.capitalize()}s: list, versions, show, lineage, compare, promote, rollback, history, delete.",
        no_args_is_help=True,
    )
    group.callback()(remember(role))
    reading = (("list", show_list), ("versions", versions), ("show", show), ("lineage", lineage))
    compare: Callable[..., None] = comparing.teachers if role == "teacher" else comparing.students
    moving = (("promote", promote), ("rollback", rollback), ("history", history), ("delete", delete))
    for name, command in (*reading, ("compare", compare), *moving):
        group.command(name)(command)
    return group


def show_list(context: typer.Context, as_json: Json = False) -> None:
    """List names with their newest version, and the aliases."""
    state, role = state_of(context), role_of(context)
    with state.client() as client:
        models = client.teachers if role == "teacher" else client.students
        page = models.list(limit=PAGE)
        found = list(page.data)
        while page.has_more:
            page = models.list(limit=PAGE, after=page.last_id)
            found += page.data
        if as_json:
            print_json(Page[NamedModel](data=found, last_id=page.last_id))
            return
        aliases = [alias for alias in client.aliases.list().data if alias.role == role]
    rows = [(model.name, model.latest, str(model.versions)) for model in found]
    tables.show(("name", "newest", "versions"), rows, out=state.out, empty=f"no {role}s")
    for alias in aliases:
        state.out.print(f"{alias.alias} -> {alias.version}", markup=False)


def versions(
    context: typer.Context, name: Annotated[str, typer.Argument(help="The name.")], as_json: Json = False
) -> None:
    """List the versions of a name, newest first."""
    state, role = state_of(context), role_of(context)
    with state.client() as client:
        page = (client.teachers if role == "teacher" else client.students).versions(name, limit=PAGE)
    if as_json:
        print_json(page)
        return
    rows = [
        (found.version, found.parent or "", found.job or "", f"{found.created_at:%Y-%m-%d %H:%M}", _aliases(found))
        for found in page.data
    ]
    tables.show(("version", "parent", "job", "created", "aliases"), rows, out=state.out)
    if page.has_more:
        state.errors.print(f"the newest {len(rows)} are shown", style="dim")


def show(context: typer.Context, version: VersionName, as_json: Json = False) -> None:
    """Show one version: what it is made of, what it was made from, and which aliases point at it."""
    state, role = state_of(context), role_of(context)
    with state.client() as client:
        found = (client.teachers if role == "teacher" else client.students).get(version)
    if as_json:
        print_json(found)
        return
    rank = f", rank {found.lora_rank}" if found.lora_rank is not None else ""
    facts = {"role": found.role, "base": found.base_model, "format": found.format, "weights": f"{found.weights}{rank}"}
    facts |= {"parent": found.parent, "job": found.job, "dataset": found.dataset, "aliases": _aliases(found)}
    facts |= {"sha256": found.adapter_sha256 or found.weights_sha256}
    state.out.print(found.version, style="bold", markup=False)
    for name, value in facts.items():
        state.out.print(f"  {name}: {value or '-'}", markup=False)


def lineage(context: typer.Context, version: VersionName, as_json: Json = False) -> None:
    """Say what a version was made from and what became of it."""
    state, role = state_of(context), role_of(context)
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
    version: VersionName,
    alias: AliasName = "default",
    evaluation: Annotated[str | None, typer.Option(help="Only if this evaluation says it is better.")] = None,
    reason: Annotated[str | None, typer.Option(help="Kept in the alias's history.")] = None,
    as_json: Json = False,
) -> None:
    """Point an alias at a version; nothing restarts, and requests in flight end on the version before.

    Example: `rlt teachers promote algebra@3 --evaluation eval_1`
    """
    state, role = state_of(context), role_of(context)
    with state.client() as client:
        before = _pointers(client, role=role).get(alias)
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
    to: Annotated[
        str | None,
        typer.Option(help="name@number; the version before where it is not given.", autocompletion=completions.names),
    ] = None,
    as_json: Json = False,
) -> None:
    """Point an alias back at the version before."""
    state, role = state_of(context), role_of(context)
    with state.client() as client:
        known = _pointers(client, role=role)
        before = known.get(alias)
        if before is None:
            raise _no_alias(alias, role=role, known=list(known))
        moved = client.aliases.rollback(role, alias, expected=before, to=to)
    _show_move(moved, before=before, context=context, as_json=as_json)


def history(
    context: typer.Context,
    alias: Annotated[str, typer.Option("--alias", help="The name that was moved.")] = "default",
    as_json: Json = False,
) -> None:
    """List who served when and why, newest first."""
    state, role = state_of(context), role_of(context)
    with state.client() as client:
        found = client.aliases.history(role, alias)
    if as_json:
        print_json(found)
        return
    rows = [
        (f"{one.created_at:%Y-%m-%d %H:%M}", one.version, one.previous or "", one.by, one.reason, one.evaluation or "")
        for one in found.data
    ]
    tables.show(("since", "version", "before", "by", "reason", "evaluation"), rows, out=state.out, empty="no moves")


def delete(
    context: typer.Context,
    version: VersionName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete one version for good; refused while an alias or a job uses it."""
    state, role = state_of(context), role_of(context)
    if not yes and state.errors.is_terminal and not typer.confirm(f"Delete {version} for good?", err=True):
        raise typer.Exit(ExitCode.FAILED)
    with state.client() as client:
        deleted = (client.teachers if role == "teacher" else client.students).delete(version)
    if as_json:
        print_json(deleted)
    else:
        state.out.print(f"{deleted.version} deleted", markup=False)


def _aliases(found: ModelVersion) -> str:
    return ", ".join(found.aliases)


def _pointers(client: Client, *, role: Role) -> dict[str, str]:
    """Read which version each alias of a role points at."""
    return {entry.alias: entry.version for entry in client.aliases.list().data if entry.role == role}


def _no_alias(alias: str, *, role: Role, known: list[str]) -> RefusedError:
    near = did_you_mean(alias, known)
    return RefusedError(
        f"there is no alias {alias} of a {role}: `rlt {role}s list` shows them.{near}",
        code="alias_not_found",
        exit_code=ExitCode.NOT_FOUND,
    )


def _show_move(moved: Alias, *, before: str | None, context: typer.Context, as_json: bool) -> None:
    if as_json:
        print_json(moved)
    else:
        state_of(context).out.print(f"{moved.alias}: {before or 'new'} -> {moved.version}", markup=False)
