"""POST /v1/train: accept a job, or say in a dry run what it would be."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from rlt_core.schemas.jobs import DryRun, Job, SubmittedSpec
from rlt_service.access.scopes import Needs
from rlt_service.calls import CallDep
from rlt_service.container import ServicesDep
from rlt_service.control.routes.wiring import dry_run, submit, wake_workers
from rlt_service.control.specs import check_kind
from rlt_service.idempotency import Once
from rlt_service.json_bodies import JsonRoute
from rlt_service.openapi import LOCATION, refusals

router = APIRouter(tags=["train"], route_class=JsonRoute, dependencies=[Needs("train")])
TrainBody = Annotated[SubmittedSpec, Body(discriminator="kind")]


async def known_kind(request: Request) -> None:
    """Say what a kind of later work or a mistyped one is, which the schema of the known kinds cannot."""
    check_kind(await request.json())


CHECKS = [Once, Depends(known_kind)]


@router.post("/train", status_code=202, dependencies=CHECKS, include_in_schema=False)
@router.post(
    "/v1/train",
    status_code=202,
    response_model=Job | DryRun,
    dependencies=CHECKS,
    responses={
        200: {"model": DryRun, "description": "The dry run's answer."},
        202: {"headers": LOCATION},
        **refusals(404),
    },
)
async def train(
    spec: TrainBody,
    services: ServicesDep,
    response: Response,
    call: CallDep,
    dry: Annotated[bool, Query(alias="dry_run")] = False,
) -> Job | DryRun:
    """Queue a job, which outlives this server; with `dry_run` check it, try a few rows, and estimate what it takes."""
    if dry:
        response.status_code = 200
        return await call.answer(dry_run(services, spec))
    job = await asyncio.to_thread(submit, services, spec)
    wake_workers(services)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job
