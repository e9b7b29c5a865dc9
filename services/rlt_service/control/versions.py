"""Own what a name in a request may mean: a stored version of the served base, and no clash in the one namespace."""

import re

from rlt_core.errors import InvalidRequestError, ModelNotFoundError
from rlt_core.schemas.base import ROLLOUT_PATTERN, Role
from rlt_service.store.registry import Registry, ResolvedVersion


def resolve_version(registry: Registry, role: Role, name: str, *, param: str) -> ResolvedVersion:
    """Find a stored version that a served base can carry; students may have a base of their own.

    Raises ModelNotFoundError; InvalidRequestError for a rollout adapter, another base or another format.
    """
    if re.match(ROLLOUT_PATTERN, name):
        raise InvalidRequestError(
            f"{name} is a rollout adapter, which goes when its job moves on: name a version", param=param
        )
    try:
        found = registry.resolve(role, name)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(error.detail, param=param) from error
    bases = [registry.base("teacher"), registry.base("student")]
    for what, has, served in (
        ("base", found.base_model, [base.base_model for base in bases]),
        ("format", found.format, [base.format for base in bases]),
    ):
        if has not in served:
            needs = " and ".join(repr(needed) for needed in dict.fromkeys(served))
            raise InvalidRequestError(
                f"{found.version} is of the {what} {has!r}, this server serves {needs}: name a version of that",
                param=param,
            )
    return found


def check_new_name(registry: Registry, name: str, *, param: str) -> None:
    """Raise InvalidRequestError where no version can be made under `name`: an alias, or the name of a base."""
    if any(alias.alias == name for alias in registry.aliases()):
        raise InvalidRequestError(f"{name!r} is an alias: choose a name of its own for the versions", param=param)
    if registry.name_use(name)[1]:  # else `teacher: name` would come to mean what another key made
        raise InvalidRequestError(f"another key has versions named {name!r}: choose another name", param=param)
    try:
        untrained = registry.get_version(f"{name}@0")
    except ModelNotFoundError:
        return
    # name@0 of a trained name is its base, under the base's own name.
    if untrained.name == name:
        raise InvalidRequestError(f"{name!r} is a base, which has no further versions: choose another", param=param)


def check_alias_name(registry: Registry, role: Role, alias: str, *, param: str) -> None:
    """Raise InvalidRequestError for a new alias that would hide the versions of the same name."""
    if any(known.role == role and known.alias == alias for known in registry.aliases()):
        return
    try:
        registry.versions(alias, limit=1)
    except ModelNotFoundError:
        if not registry.name_use(alias)[0]:
            return
    raise InvalidRequestError(f"versions are named {alias!r}, an alias would hide them: choose another", param=param)
