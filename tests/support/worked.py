"""An app in process with a worker beside it: the stub trainer, a real supervisor, HTTP over the test's transport."""

import contextlib
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

from rlt_core.schemas.jobs import QUEUE
from rlt_service.jobs.completion import Completion
from rlt_service.jobs.preparation import Preparation
from rlt_service.jobs.supervisor import Drain, Supervisor
from rlt_service.store.keys import KeyStore
from rlt_service.store.measured import MeasuredStore
from tests.jobs.site import STUB
from tests.support.app_transport import AppTransport
from tests.support.control import Control, control_app


@contextlib.contextmanager
def worked_app(home: Path) -> Generator[Control]:
    """Start the app with a worker beside it, which asks it over the test's transport."""
    settings = {"service_url": "http://app", "heartbeat_s": 0.2}
    with control_app(home, trainer_command=(sys.executable, str(STUB)), **settings) as control:
        ended = threading.Event()
        worker = threading.Thread(target=work, args=(control, ended))
        worker.start()
        yield control
        ended.set()
        worker.join()


def work(control: Control, ended: threading.Event) -> None:
    """Run one job after the other, as a worker does when it hears the bell."""
    services = control.services
    stores: dict[str, Any] = {"datasets": services.datasets, "registry": services.registry}
    supervisor = Supervisor(
        settings=services.settings,
        jobs=services.jobs,
        keys=KeyStore(services.database),
        preparation=Preparation(settings=services.settings, jobs=services.jobs, artifacts=services.artifacts, **stores),
        completion=Completion(
            settings=services.settings,
            jobs=services.jobs,
            measured=MeasuredStore(services.database),
            transport=AppTransport(control.http),
            **stores,
        ),
        resolve_base=lambda _: services.settings.home,
        trainer_command=services.settings.trainer_command,
        drain=Drain(),
    )
    while not ended.is_set():
        claimed = services.jobs.claim(queue=QUEUE, worker="test")
        if claimed is None:
            ended.wait(0.05)
        else:
            supervisor.run(claimed)
