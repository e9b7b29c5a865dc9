"""Own which role a group of commands is about: `rlt teachers` and `rlt students` have the same commands."""

from collections.abc import Callable

import typer

from rlt_core.schemas.base import Role

_KEY = "rlt_client.cli.role"


def remember(role: Role) -> Callable[[typer.Context], None]:
    """Make the callback of a role's group."""

    def callback(context: typer.Context) -> None:
        context.meta[_KEY] = role

    return callback


def role_of(context: typer.Context) -> Role:
    """Read the role of the group that a command stands in."""
    return context.meta[_KEY]
