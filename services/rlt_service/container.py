"""Own what a process holds while it serves, and how a route comes by it. Made once, by create_app's lifespan."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from rlt_service.access.authentication import Authenticator
from rlt_service.access.meter import Meter
from rlt_service.control.event_stream import Seen
from rlt_service.control.probe import Prober
from rlt_service.control.shared_looks import SharedLooks
from rlt_service.engine.gate import Flows
from rlt_service.engine.protocol import Engine
from rlt_service.engine_host import EngineHost
from rlt_service.engines import Engines
from rlt_service.in_hand import InHand
from rlt_service.jobs.conductor import Conductor
from rlt_service.jobs.reconciler import Reconciler
from rlt_service.leases import Leases
from rlt_service.metrics import Metrics
from rlt_service.part_checks import PartCheck
from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.audit import AuditStore
from rlt_service.store.database import Database
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.jobs import JobStore
from rlt_service.store.pipelines import PipelineStore
from rlt_service.store.registry import Registry
from rlt_service.store.shadows import ShadowStore
from rlt_service.teacher.shadow import ShadowTraffic
from rlt_service.use_reports import UseReports


class Scraped(Protocol):
    """Facts that are asked for at each scrape."""

    async def refresh(self) -> None:
        """Ask for them; never raises, and never takes long."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that routes reach; stores are synchronous (call them from a thread), the engine is not."""

    settings: Settings
    database: Database
    authenticator: Authenticator
    """Finds the key of each call."""
    meter: Meter
    """Counts what projects ask of engines."""
    audit: AuditStore
    artifacts: ArtifactStore
    jobs: JobStore
    datasets: DatasetStore
    registry: Registry
    prober: Prober
    """Proves a version before an alias moves to it."""
    base_models: Sequence[str]
    """The bases that this process serves, as the registry has them, the teacher's first."""
    in_hand: InHand
    engines: Engines | None
    """None where this process plays neither teacher nor student."""
    reconciler: Reconciler | None
    """None where this process does not play control."""
    pipelines: PipelineStore
    conductor: Conductor | None
    """Moves pipelines on; None where this process does not play control."""
    metrics: Metrics
    scraped: Sequence[Scraped]
    """What is read anew before /metrics answers."""
    shadows: ShadowStore
    shadow: ShadowTraffic
    """What candidates answer beside the served versions; begun where this process plays the teacher."""
    leases: Leases
    use_reports: UseReports
    """Which versions requests of this process run on."""
    flows: Flows = field(default_factory=Flows)
    """What callers have said belongs together."""
    event_looks: SharedLooks[Seen] = field(default_factory=SharedLooks[Seen])
    """What event streams of this process read of the store together."""
    leaving: threading.Event = field(default_factory=threading.Event)
    """Set when the server begins to stop: streams that follow something end, or they would hold it up."""

    part_checks: Mapping[str, PartCheck] = field(init=False)
    """What /readyz asks beside the engines, by the names in its answer."""

    def __post_init__(self) -> None:
        """Keep one check of a part for the life of the process: it holds a thread while the part hangs."""
        checks = {
            "database": PartCheck("the database", self.database.check),
            "artifacts": PartCheck("the artifacts' disk", self.artifacts.check),
        }
        object.__setattr__(self, "part_checks", checks)

    @property
    def host(self) -> EngineHost | None:
        """The life of the teacher's engine; None where this process has none."""
        return None if self.engines is None else self.engines.host

    @property
    def engine(self) -> Engine | None:
        """The teacher's engine; None where this process has none. Raises EngineUnavailableError until it is ready."""
        return None if self.host is None else self.host.ready()


def services_of(connection: HTTPConnection) -> Services:
    """Find the services of the app that a request came to."""
    return cast(Services, connection.app.state.services)


async def _services(connection: HTTPConnection) -> Services:
    """Do the same as a dependency: FastAPI calls what is not async in a thread, which costs more than the call."""
    return services_of(connection)


ServicesDep = Annotated[Services, Depends(_services)]
