"""Own where the training of a policy starts: a stored version of the base that it trains, whose adapter goes on."""

from collections.abc import Sequence

from rlt_core.errors import InvalidRequestError, NotAvailableYetError
from rlt_core.schemas.jobs import PolicySpec
from rlt_service.bases import base_role
from rlt_service.control.versions import resolve_version
from rlt_service.store.registry import Registry, ResolvedVersion


def resolve_start(registry: Registry, spec: PolicySpec, *, begun: str | None) -> ResolvedVersion:
    """Find the version that a spec starts from; `begun` is the one at which the training that goes on began.

    Raises ModelNotFoundError, InvalidRequestError for another base or another rank than the spec's, or than `begun`,
    and what `check_kind_of_start` raises.
    """
    role = spec.role
    param = f"/{role}"
    named = begun if begun is not None and role not in spec.model_fields_set else spec.start
    found = resolve_version(registry, role, named, param=param)
    if begun is not None and found.version != begun:
        raise InvalidRequestError(
            f"the training of the checkpoint began at {begun}, which stays the reference, and {spec.start!r} is "
            f"{found.version}: leave {role} out",
            param=param,
        )
    served = registry.base(base_role(spec)).base_model
    if found.base_model != served:
        others = "teachers" if role == "student" else "students"
        raise InvalidRequestError(
            f"{found.version} is of the {others}' base {found.base_model!r}, this server trains {role}s of {served!r}",
            param=param,
        )
    check_kind_of_start(spec, found)
    if found.adapter is not None and spec.lora is not None and "lora" in spec.model_fields_set:
        rank = registry.get_version(found.version).lora_rank
        if rank != spec.lora.rank:
            raise InvalidRequestError(
                f"training continues the adapter of {found.version}, whose rank is {rank}, not {spec.lora.rank}: leave "
                "lora out, or start from the base",
                param="/lora/rank",
            )
    return found


def check_kind_of_start(spec: PolicySpec, found: ResolvedVersion) -> None:
    """Refuse an adapter's training that starts from a whole model, and one of all weights that starts from an adapter.

    Raises NotAvailableYetError for the first, InvalidRequestError for the second.
    """
    param = f"/{spec.role}"
    if found.full is not None and spec.lora is not None:
        raise NotAvailableYetError(
            f"not available yet is training an adapter on a fully trained model, {found.version}: start from an "
            "adapter or from the base, or train all weights (lora: null)",
            param=param,
        )
    if found.adapter is not None and spec.lora is None:
        raise InvalidRequestError(
            f"all weights are trained (lora: null), and {found.version} is an adapter: start from the base or from a "
            "fully trained model, or give lora",
            param="/lora",
        )


def check_places(spec: PolicySpec, *, students: Sequence[ResolvedVersion], places: int) -> None:
    """Raise InvalidRequestError where policies of all weights and whole students need more engines than there may be.

    Each explanation is scored while others are still being written, so all are held at the same time.
    """
    if spec.lora is not None:
        return
    whole = list(dict.fromkeys(found.version for found in students if found.full is not None))
    if 1 + len(whole) > places:
        beside = f" beside those of the students {', '.join(whole)}" if whole else ""
        raise InvalidRequestError(
            f"policies of all weights (lora: null) need an engine of their own{beside}, and this server has room for "
            f"{places}: give lora, or restart it with RLT_MAX_FULL_ENGINES={1 + len(whole)} or more",
            param="/lora",
        )
