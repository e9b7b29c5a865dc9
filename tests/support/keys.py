"""Keys of a running app, and what lies in its stores made in a key's name."""

import contextlib
from collections.abc import Generator

from rlt_service.access.secrets import make_secret, read_secret
from rlt_service.store.keys import KeyScope, KeyStore
from rlt_service.store.ownership import VIEWER, Viewer
from tests.support.control import Control

Headers = dict[str, str]


def make_key(
    control: Control,
    *scopes: KeyScope,
    max_per_minute: int | None = None,
    max_at_once: int | None = None,
    project: str | None = None,
) -> Headers:
    """Make a key, and give the header that a call sends it in."""
    secret = make_secret()
    KeyStore(control.services.database).create(
        secret.key_id,
        name="test",
        sha256=secret.sha256,
        scopes=scopes,
        max_per_minute=max_per_minute,
        max_at_once=max_at_once,
        project=project,
    )
    control.services.authenticator.forget()
    return {"Authorization": f"Bearer {secret.text}"}


def id_of(headers: Headers) -> str:
    secret = read_secret(headers["Authorization"])
    assert secret is not None
    return secret.key_id


@contextlib.contextmanager
def acting(headers: Headers, *, project: str | None = None) -> Generator[None]:
    """Make what is stored within the block belong to a key, or to its project (by id)."""
    token = VIEWER.set(Viewer(key=id_of(headers), sees_all=False, project=project))
    try:
        yield
    finally:
        VIEWER.reset(token)


def admin_key(control: Control) -> str:
    """Make a key that may do all, and give its text."""
    return make_key(control, "admin")["Authorization"].removeprefix("Bearer ")
