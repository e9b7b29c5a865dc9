"""Own how a key is shown: never with its secret or hash."""

from collections.abc import Mapping

from rlt_core.schemas.projects import KeyCard
from rlt_service.store.keys import Key


def card_of(key: Key, names: Mapping[str, str]) -> KeyCard:
    """Write a key as others may see it; `names` has each project's by its id."""
    return KeyCard(
        id=key.id,
        name=key.name,
        project=None if key.project_id is None else names.get(key.project_id),
        scopes=list(key.scopes),
        max_per_minute=key.max_per_minute,
        max_at_once=key.max_at_once,
        created_at=key.created_at,
        revoked_at=key.revoked_at,
    )
