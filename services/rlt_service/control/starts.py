"""Own where the training of a policy starts: a stored version of the base that it trains, whose adapter goes on."""

from rlt_core.errors import InvalidRequestError, NotAvailableYetError
from rlt_core.schemas.jobs import PolicySpec
from rlt_service.bases import base_role
from rlt_service.control.versions import resolve_version
from rlt_service.store.registry import Registry, ResolvedVersion


def resolve_start(registry: Registry, spec: PolicySpec, *, begun: str | None) -> ResolvedVersion:
    """Find the version that a spec starts from; `begun` is the one at which the training that goes on began.

    Raises ModelNotFoundError, InvalidRequestError for another base or another rank than the spec's, or than `begun`,
    and NotAvailableYetError for a fully trained model.
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
    if found.full is not None:
        raise NotAvailableYetError(
            f"not available yet is training on from a fully trained model, {found.version}: start from an adapter or "
            "from the base",
            param=param,
        )
    if found.adapter is not None and spec.lora is not None and "lora" in spec.model_fields_set:
        rank = registry.get_version(found.version).lora_rank
        if rank != spec.lora.rank:
            raise InvalidRequestError(
                f"training continues the adapter of {found.version}, whose rank is {rank}, not {spec.lora.rank}: leave "
                "lora out, or start from the base",
                param="/lora/rank",
            )
    return found
