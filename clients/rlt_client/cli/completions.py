"""Own what a shell is offered at the tab key beyond commands and options: ids and names that a server knows."""

from collections.abc import Callable
from typing import Final

import typer

from rlt_client import APIError, Client
from rlt_client.cli.state import State

PATIENCE_S: Final = 1.0
"""Somebody waits with a finger on the key."""
OFFERED: Final = 50
"""The newest ones."""

Offers = list[tuple[str, str]]
"""A value, and what it is."""


def jobs(context: typer.Context, incomplete: str) -> Offers:
    """Offer the newest jobs."""
    return _asked(
        context,
        incomplete,
        lambda client: [(job.id, f"{job.kind} {job.status}") for job in client.jobs.list(limit=OFFERED).data],
    )


def datasets(context: typer.Context, incomplete: str) -> Offers:
    """Offer the newest datasets."""
    return _asked(
        context,
        incomplete,
        lambda client: [
            (one.id, f"{one.name or ''} {one.rows} rows") for one in client.datasets.list(limit=OFFERED).data
        ],
    )


def names(context: typer.Context, incomplete: str) -> Offers:
    """Offer every name of a teacher, a student or an alias that can be called."""
    return _asked(context, incomplete, lambda client: [(one.id, one.owned_by) for one in client.models().data])


def _asked(context: typer.Context, incomplete: str, ask: Callable[[Client], Offers]) -> Offers:
    """Ask the server in question; no server, no key, or a slow one is no offer, and never an error."""
    root = context.find_root()
    given = root.obj if isinstance(root.obj, State) else State()
    state = State(base_url=root.params.get("base_url"), api_key=root.params.get("api_key"), transport=given.transport)
    try:
        with state.client(timeout=PATIENCE_S) as client:
            offers = ask(client)
    except APIError:
        return []
    return [offer for offer in offers if offer[0].startswith(incomplete)]
