"""Own how a request's use case is made of the process's services."""

import asyncio

from rlt_core.errors import EngineUnavailableError
from rlt_core.schemas.jobs import DistillSpec, DryRun, Job, SubmittedSpec
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_service.container import Services
from rlt_service.control.datasets import Uploader
from rlt_service.control.deletion import Deleter
from rlt_service.control.distilling import as_submitted, collects_first
from rlt_service.control.dry_run import DryRunner
from rlt_service.control.imports import Importer
from rlt_service.control.pipeline_dry_run import PipelineDryRun
from rlt_service.control.pipelines import Pipelines
from rlt_service.control.players import OwnPlayers, RemotePlayers
from rlt_service.control.promotion import Promotion
from rlt_service.control.rehearsal import Players
from rlt_service.control.reports import Reports
from rlt_service.control.shadowing import Shadowing
from rlt_service.control.submission import Submission
from rlt_service.engine.protocol import Engine
from rlt_service.engines import Engines
from rlt_service.store.deletion import Deletion
from rlt_service.store.version_uses import VersionUses
from rlt_service.use_cases import explainer_of, scorer_of, solver_of


def ready_engine(services: Services) -> Engine | None:
    """Give the engine where this process has one that has started: what it knows is known only then."""
    return ready_of(services.engines)


def ready_of(engines: Engines | None) -> Engine | None:
    """Give the teacher's engine once it has started; None before, and where there is none."""
    try:
        return engines.host.ready() if engines is not None else None
    except EngineUnavailableError:
        return None


def running_engines(services: Services) -> list[tuple[str, Engine]]:
    """Give the engines of this process that answer now, each with what it holds."""
    return services.engines.all_ready() if services.engines is not None else []


def wake_workers(services: Services) -> None:
    """Have the bell rung and pipelines moved on now; what fails is done again by the next look."""
    if services.reconciler is not None:
        services.reconciler.wake()
    if services.conductor is not None:
        services.conductor.wake()


def submission_of(services: Services) -> Submission:
    """Make the use case of /v1/train."""
    return Submission(
        settings=services.settings,
        jobs=services.jobs,
        datasets=services.datasets,
        registry=services.registry,
        artifacts=services.artifacts,
        engine=ready_engine(services),
    )


def dry_runner_of(services: Services) -> DryRunner:
    """Make the use case of a dry run."""
    return DryRunner(
        settings=services.settings,
        submission=submission_of(services),
        players=players_of(services),
        engine=ready_engine(services),
    )


def pipelines_of(services: Services) -> Pipelines:
    """Make the use case of /v1/train for a pipeline."""
    return Pipelines(submission=submission_of(services), store=services.pipelines)


def submit(services: Services, spec: SubmittedSpec) -> Job:
    """Check a job and store it; raises what the checks of its kind raise."""
    if isinstance(spec, DistillSpec) and spec.teacher is not None:
        with as_submitted():
            return pipelines_of(services).submit(collects_first(spec, registry=services.registry))
    if isinstance(spec, PipelineSpec):
        return pipelines_of(services).submit(spec)
    return submission_of(services).submit(spec)


async def dry_run(services: Services, spec: SubmittedSpec) -> DryRun:
    """Say what a job would be; raises what the checks of its kind raise."""
    runner = dry_runner_of(services)
    if isinstance(spec, DistillSpec) and spec.teacher is not None:
        with as_submitted():
            both = await asyncio.to_thread(collects_first, spec, registry=services.registry)
            return await PipelineDryRun(runner=runner, pipelines=pipelines_of(services)).run(both)
    if isinstance(spec, PipelineSpec):
        return await PipelineDryRun(runner=runner, pipelines=pipelines_of(services)).run(spec)
    return await runner.run(spec)


def players_of(services: Services) -> Players | None:
    """Give teacher and student of this process, or those that its trainers reach; None where nobody says where."""
    if services.engines is not None:
        return OwnPlayers(explainer=explainer_of(services), scorer=scorer_of(services), solver=solver_of(services))
    url = services.settings.service_url
    return None if url is None else RemotePlayers(base_url=url)


def reports_of(services: Services) -> Reports:
    """Make the use case of a job's metrics, logs and checkpoints."""
    return Reports(jobs=services.jobs, artifacts=services.artifacts)


def uploader_of(services: Services, *, keyed: bool) -> Uploader:
    """Make the use case of an upload, of a caller with a key or on a server without keys."""
    return Uploader(datasets=services.datasets, artifacts=services.artifacts, settings=services.settings, keyed=keyed)


def importer_of(services: Services) -> Importer:
    """Make the use case of a registration."""
    return Importer(registry=services.registry, artifacts=services.artifacts, prober=services.prober)


def deleter_of(services: Services) -> Deleter:
    """Make the use case of a version's deletion."""
    return Deleter(
        registry=services.registry,
        deletion=Deletion(services.database, services.artifacts),
        requests=services.leases,
        uses=VersionUses(services.database),
        process=services.use_reports.process,
    )


def promotion_of(services: Services) -> Promotion:
    """Make the use case of an alias's move."""
    return Promotion(registry=services.registry, prober=services.prober, engine=services.settings.engine)


def shadowing_of(services: Services) -> Shadowing:
    """Make the use case of an alias's shadow."""
    return Shadowing(registry=services.registry, shadows=services.shadows, prober=services.prober)
