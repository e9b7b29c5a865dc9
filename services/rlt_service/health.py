"""/healthz, /readyz and /metrics: whether the process answers, whether it can do its work, and how it has been."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from rlt_core.schemas.server import Check, Health, Readiness
from rlt_service.container import Services, ServicesDep
from rlt_service.engine_host import EngineHost

router = APIRouter(tags=["health"])

RETRY_AFTER_S = 5
ENGINE_S = 1.5
"""An engine that takes longer to say how it is counts as one that does not answer."""


@router.get("/healthz")
async def healthz() -> Health:
    """Say that the process answers; touches nothing else."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready; `checks` say why."}})
async def readyz(services: ServicesDep, response: Response) -> Readiness:
    """Look at what requests rest on."""
    found = await readiness_of(services)
    if found.status == "not_ready":
        response.status_code = 503
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return found


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(services: ServicesDep) -> PlainTextResponse:
    """Give Prometheus what this process counts and, of control, the figures of the installation."""
    await asyncio.gather(*(part.refresh() for part in services.scraped))
    return PlainTextResponse(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)


async def readiness_of(services: Services) -> Readiness:
    """Check database, artifacts and engine, without which nothing works; without the broker jobs only wait."""
    asked: dict[str, Awaitable[Check]] = {name: part.ask() for name, part in services.part_checks.items()}
    # Engines of fully trained versions come and go with requests: nobody waits for them.
    for index, (base_model, host) in enumerate(services.engines.hosts.items() if services.engines is not None else ()):
        asked["engine" if index == 0 else f"engine {base_model}"] = _asked(host)
    # All at once: where several hang, they are told in the time of one.
    checks = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
    needed = all(check.ok for check in checks.values())
    if services.reconciler is not None:
        detail = services.reconciler.broker_detail
        checks["broker"] = Check(ok=not detail, detail=detail)
    if not needed:
        return Readiness(status="not_ready", checks=checks)
    return Readiness(status="ready" if all(check.ok for check in checks.values()) else "degraded", checks=checks)


async def _asked(host: EngineHost) -> Check:
    """Ask an engine, which may hang in any part of it."""
    try:
        async with asyncio.timeout(ENGINE_S):
            return await host.check()
    except TimeoutError:
        return Check(ok=False, detail=f"{host.name} did not say within {ENGINE_S:g} s how it is")
