"""The only wiring: create_app puts stores, engine and routes together; nothing starts before the app's lifespan."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, FastAPI

from rlt_core.errors import ConfigurationError
from rlt_core.formats import FORMATS
from rlt_core.hub_models import HUB_PREFIX
from rlt_core.schemas.base import Role
from rlt_service import health, later
from rlt_service.access.auditing import AuditedCalls
from rlt_service.access.authentication import Authenticator, Visits
from rlt_service.access.meter import Meter
from rlt_service.artifact_root import artifacts_of
from rlt_service.chat.routes import router as chat_router
from rlt_service.connections import BoundedConnections
from rlt_service.container import Services
from rlt_service.control.routes import ROUTERS as CONTROL_ROUTERS
from rlt_service.control.routes.wiring import ready_of
from rlt_service.control.step_checks import StepChecks
from rlt_service.control.submission import Submission
from rlt_service.cross_site import OwnSiteOnly
from rlt_service.engine.factory import base_reference, create_engine
from rlt_service.engine.models import hub_model
from rlt_service.engine.protocol import Engine, Weights
from rlt_service.engine_host import NoEngine
from rlt_service.engines import Engines
from rlt_service.error_handlers import add_error_handlers
from rlt_service.host_names import KnownHosts, allowed_hosts
from rlt_service.idempotency import IdempotentCalls
from rlt_service.in_hand import InHand
from rlt_service.installation_metrics import InstallationMetrics
from rlt_service.jobs.bell import Bell, CeleryBell
from rlt_service.jobs.celery_app import make_celery
from rlt_service.jobs.conductor import Conductor
from rlt_service.jobs.reconciler import Reconciler
from rlt_service.leases import Leases
from rlt_service.metrics import CallMetrics, Metrics
from rlt_service.openapi import DescribedApi
from rlt_service.process_metrics import ProcessMetrics
from rlt_service.request_ids import RequestIds
from rlt_service.request_traces import RequestTraces
from rlt_service.roles import ProcessRole
from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.audit import AuditStore
from rlt_service.store.database import Database
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.deletion import Deletion
from rlt_service.store.figures import FiguresStore
from rlt_service.store.jobs import JobStore
from rlt_service.store.keys import KeyStore
from rlt_service.store.outbox import Outbox
from rlt_service.store.pipelines import PipelineStore
from rlt_service.store.project_uses import ProjectUses
from rlt_service.store.registry import Registry
from rlt_service.store.retention import Retention
from rlt_service.store.shadows import ShadowStore
from rlt_service.store.version_uses import VersionUses
from rlt_service.student.routes import router as student_router
from rlt_service.teacher.routes import router as teacher_router
from rlt_service.teacher.shadow import ShadowTraffic
from rlt_service.use_reports import UseReports

CONDUCT_S = 2.0
"""Longest time in which nobody notices that a step of a pipeline has ended."""
ROUTERS: dict[ProcessRole, tuple[APIRouter, ...]] = {
    "teacher": (teacher_router,),
    "student": (student_router, chat_router),
    "control": CONTROL_ROUTERS,
}


def create_app(
    settings: Settings,
    *,
    engine: Engine | None = None,
    make_engine: Callable[[Weights], Engine] | None = None,
    bell: Bell | None = None,
    on_engine_failure: Callable[[Exception], None] | None = None,
) -> FastAPI:
    """Make the app for the roles of `settings`.

    `engine` (of the teacher's base), `make_engine` (of all others) and `bell` replace what the settings name;
    `on_engine_failure` hears why an engine of a base did not start.
    """
    if not settings.roles:
        raise ConfigurationError("RLT_ROLES is empty: name at least one of teacher, student, control")
    main = Weights(base_model=base_of(settings)[1])
    others = partial(create_engine, settings) if make_engine is None else make_engine

    def engine_for(weights: Weights) -> Engine:
        return engine if engine is not None and weights == main else others(weights)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            app.state.services = await _start(
                settings,
                stack,
                make_engine=engine_for,
                bell=bell,
                on_engine_failure=on_engine_failure,
                metrics=metrics,
            )
            yield

    app = DescribedApi(
        title="Reinforcement Learning Teachers",
        version=version("rlt"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    metrics = Metrics()
    app.state.settings = settings
    app.state.absent_routes = {
        role: [route for router in routers for route in router.routes]
        for role, routers in ROUTERS.items()
        if role not in settings.roles
    }
    # The routes themselves: include_router would make each anew, which takes longer than all the rest.
    for router in (health.router, later.router, *_routers(settings)):
        app.router.routes.extend(router.routes)
    add_error_handlers(app)
    _add_middleware(app, settings, metrics)
    return app


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Put what every call goes through around the routes; the last one stands outermost."""
    app.add_middleware(IdempotentCalls)
    app.add_middleware(AuditedCalls)
    app.add_middleware(Visits)
    app.add_middleware(OwnSiteOnly)
    app.add_middleware(KnownHosts, allowed=allowed_hosts(settings))
    app.add_middleware(BoundedConnections, most=settings.max_connections)
    app.add_middleware(RequestIds)
    app.add_middleware(RequestTraces)
    app.add_middleware(CallMetrics, metrics=metrics)


def base_of(settings: Settings) -> tuple[str, str]:
    """Give the base's name as a version and its reference: where its files are, or the builtin's name."""
    reference = base_reference(settings)
    return settings.base_name or _name_of(reference), reference


def student_base_of(settings: Settings) -> tuple[str, str] | None:
    """Give name and reference of the base that only students have; None where both roles share one."""
    reference = settings.student_model
    return None if reference in (None, base_reference(settings)) else (_name_of(reference), reference)


def bases_of(settings: Settings) -> list[str]:
    """Give the references of the bases that a process holds, the teacher's first."""
    return [found[1] for found in (base_of(settings), student_base_of(settings)) if found is not None]


def open_state(settings: Settings, database: Database) -> None:
    """Open the database, migrate it, and see that the base can be called; raises RltError that says what to do."""
    if settings.format not in FORMATS:  # before the base is stored under it
        raise ConfigurationError(f"RLT_FORMAT is {settings.format!r}, no format: choose among {', '.join(FORMATS)}")
    database.start()
    artifacts = artifacts_of(settings)
    registry = Registry(database, artifacts)
    name, base_model = base_of(settings)
    student = student_base_of(settings)
    plays: list[Role] = ["teacher", "student"] if student is None else ["teacher"]
    registry.ensure_base(name=name, base_model=base_model, format=settings.format, plays=plays)
    if student is not None:
        registry.ensure_base(name=student[0], base_model=student[1], format=settings.format, plays=["student"])
    Deletion(database, artifacts).sweep()


def _name_of(reference: str) -> str:
    of_hub = reference.startswith(HUB_PREFIX)
    last = hub_model(reference).name if of_hub else Path(reference.rpartition(":")[2]).name
    name = re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")[:63].rstrip("-")
    if not name:
        raise ConfigurationError(f"no name can be made of the base model {reference!r}: set RLT_BASE_NAME")
    return name


def _routers(settings: Settings) -> list[APIRouter]:
    return [router for role, routers in ROUTERS.items() if role in settings.roles for router in routers]


async def _start(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    make_engine: Callable[[Weights], Engine],
    bell: Bell | None,
    on_engine_failure: Callable[[Exception], None] | None,
    metrics: Metrics,
) -> Services:
    """Start each part and note on the stack how it ends, in the opposite order."""
    database = Database(settings.database)
    await asyncio.to_thread(open_state, settings, database)
    stack.callback(database.close)
    artifacts = artifacts_of(settings)
    registry = Registry(database, artifacts)
    jobs = JobStore(database, settings.job_rules)
    reconciler = _reconciler(settings, stack, database=database, artifacts=artifacts, jobs=jobs, bell=bell)
    leases = Leases()
    use_reports, meter = UseReports(leases, VersionUses(database)), Meter(ProjectUses(database))
    for telling in (use_reports, meter):
        telling.start()
        stack.push_async_callback(asyncio.to_thread, telling.stop)
    engines = _engines(settings, stack, leases=leases, make_engine=make_engine, on_failure=on_engine_failure)
    in_hand = InHand(max_requests=settings.max_queued_requests, max_tokens=settings.max_queued_tokens)
    shadows = ShadowStore(database, max_pairs=settings.max_shadow_pairs)
    shadow = ShadowTraffic(shadows, in_hand=in_hand)
    if "teacher" in settings.roles:
        shadow.start()
        stack.push_async_callback(shadow.stop)
    conductor = _conductor(settings, stack, database=database, engines=engines, reconciler=reconciler)
    scraped = _scraped(settings, database=database, in_hand=in_hand, engines=engines, reconciler=reconciler)
    stack.enter_context(metrics.watching(scraped))
    return Services(
        settings=settings,
        database=database,
        authenticator=Authenticator(KeyStore(database)),
        meter=meter,
        audit=AuditStore(database, kept_for=timedelta(days=settings.audit_days)),
        artifacts=artifacts,
        jobs=jobs,
        datasets=DatasetStore(database, artifacts),
        registry=registry,
        prober=NoEngine() if engines is None else engines,
        base_models=bases_of(settings),
        in_hand=in_hand,
        engines=engines,
        leases=leases,
        use_reports=use_reports,
        reconciler=reconciler,
        pipelines=PipelineStore(database, settings.job_rules),
        conductor=conductor,
        metrics=metrics,
        scraped=scraped,
        shadows=shadows,
        shadow=shadow,
    )


def _engines(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    leases: Leases,
    make_engine: Callable[[Weights], Engine],
    on_failure: Callable[[Exception], None] | None,
) -> Engines | None:
    """Start what holds the engines, where this process plays a role that has any."""
    if not {"teacher", "student"} & set(settings.roles):
        return None
    engines = Engines.of(
        settings, bases=bases_of(settings), leases=leases, make_engine=make_engine, on_failure=on_failure
    )
    engines.start()
    stack.push_async_callback(engines.stop, grace_s=settings.drain_grace_s)
    return engines


def _scraped(
    settings: Settings,
    *,
    database: Database,
    in_hand: InHand,
    engines: Engines | None,
    reconciler: Reconciler | None,
) -> list[ProcessMetrics | InstallationMetrics]:
    """Make what /metrics reads at each scrape; the installation's figures are told where this process plays control."""
    process = ProcessMetrics(
        in_hand=in_hand,
        hosts=dict if engines is None else engines.every_host,
        reconciler=reconciler,
        folders={"home": settings.home, "artifacts": settings.artifacts},
    )
    if "control" not in settings.roles:
        return [process]
    return [process, InstallationMetrics(FiguresStore(database).read, queues=settings.queues.values())]


def _conductor(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    database: Database,
    engines: Engines | None,
    reconciler: Reconciler | None,
) -> Conductor | None:
    """Start what moves pipelines on, where this process plays control."""
    if reconciler is None:
        return None
    artifacts = artifacts_of(settings)

    def submission() -> Submission:
        return Submission(
            settings=settings,
            jobs=JobStore(database, settings.job_rules),
            datasets=DatasetStore(database, artifacts),
            registry=Registry(database, artifacts),
            artifacts=artifacts,
            engine=ready_of(engines),
        )

    conductor = Conductor(
        PipelineStore(database, settings.job_rules),
        check=StepChecks(submission=submission, keys=KeyStore(database)).check,
        on_begun=reconciler.wake,
        period_s=min(settings.reconcile_s, CONDUCT_S),
    )
    conductor.start()
    stack.push_async_callback(asyncio.to_thread, conductor.stop)
    return conductor


def _reconciler(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    database: Database,
    artifacts: ArtifactStore,
    jobs: JobStore,
    bell: Bell | None,
) -> Reconciler | None:
    """Start what rings, watches leases and tidies up, where this process plays control.

    Without `bell` it rings at the broker of the settings.
    """
    if "control" not in settings.roles:
        return None
    reconciler = Reconciler(
        settings,
        jobs=jobs,
        outbox=Outbox(database),
        bell=CeleryBell(make_celery(settings)) if bell is None else bell,
        artifacts=artifacts,
        retention=Retention(database, artifacts),
    )
    reconciler.start()
    stack.push_async_callback(asyncio.to_thread, reconciler.stop)
    return reconciler
