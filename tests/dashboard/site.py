"""A server with its dashboard on a port of loopback, in a thread, and what its tests lay into its stores."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx
import uvicorn
from fastapi import FastAPI
from nicegui import core
from sqlalchemy import insert, select

from rlt_core.schemas.base import new_id, now_utc
from rlt_core.schemas.jobs import JOB_SPEC, Job, Progress
from rlt_service.app import create_app
from rlt_service.container import Services
from rlt_service.dashboard.mounting import add_dashboard
from rlt_service.settings import Settings
from rlt_service.store.tables import JobEventRow, JobRow
from tests.support.control import Control
from tests.support.schema import lay_schema
from tests.support.service import SilentBell
from tests.support.waiting import wait_until

T = TypeVar("T")
GONE_S = 1.0
"""After so long a closed page is forgotten: its tests need not wait as long as people's pages do."""
MANY_JOBS = 10_000
MANY_STEPS = 10_000
SERIES = ("reward", "reward_std", "r_ss", "r_kl", "loss", "kl", "grad_norm", "length", "learning_rate", "tokens")
"""Ten of them: with ten thousand steps a hundred thousand points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The server as a browser and as its stores see it."""

    url: str
    app: FastAPI
    loop: asyncio.AbstractEventLoop

    @property
    def services(self) -> Services:
        return self.app.state.services

    @property
    def control(self) -> Control:
        return Control(http=cast(Any, None), services=self.services)

    def inside(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the server's own event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=30)

    def count(self, counted: Callable[[], int]) -> int:
        async def look() -> int:
            return counted()

        return self.inside(look())

    def api(self, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(method, self.url + path, trust_env=False, **more)

    def running_job(self, **fields: Any) -> Job:
        return self.control.running_job(**fields)

    def tell(self, job: Job, type_: str, **data: Any) -> None:
        self.services.jobs.append_event(job.id, job.attempt, type_, data)

    def step(self, job: Job, step: int, *, metrics: dict[str, float], total: int = 40) -> None:
        """Let a job's supervisor tell of a step, as it does."""
        told = Progress(step=step, total=total, eta_s=3.0 * (total - step), metrics=metrics)
        self.services.jobs.save_progress(job.id, job.attempt, told)


@contextlib.contextmanager
def running_site(home: Path) -> Generator[Site]:
    """Start the server; it stands until the block is left."""
    settings = Settings(home=home, engine="fake", dashboard="on", lease_s=3600.0, max_model_len=2048)
    lay_schema(home)
    app = create_app(settings, bell=SilentBell())
    add_dashboard(app, settings)
    core.app.config.reconnect_timeout = GONE_S
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", log_config=None, timeout_graceful_shutdown=1))
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, what="the server listens")
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{url}/readyz", trust_env=False).status_code == 200, what="the server is ready")
        yield Site(url=url, app=app, loop=loops[0])
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


def lay_many_jobs(services: Services) -> None:
    """Store ten thousand jobs that have ended, as copies of one."""
    spec = JOB_SPEC.validate_python({"kind": "rl", "dataset": "ds_" + "0" * 20, "target_name": "many"})
    made = services.jobs.submit(spec)
    services.jobs.cancel(made.id)
    with services.database.transaction() as session:
        row = session.scalars(select(JobRow).where(JobRow.id == made.id)).one()
        columns = {column.key: getattr(row, column.key) for column in JobRow.__mapper__.column_attrs}
        del columns["ordinal"]
        kinds = ("succeeded", "succeeded", "failed", "cancelled")
        session.execute(
            insert(JobRow),
            [
                columns
                | {
                    "id": new_id("job"),
                    "name": f"sweep {number}",
                    "status": kinds[number % len(kinds)],
                    "created_at": now_utc() - timedelta(minutes=MANY_JOBS - number),
                    "runtime_s": float(number % 4000),
                    "progress": {"step": 20, "total": 20, "metrics": {"reward": -1.0 + (number % 100) / 100}},
                }
                for number in range(MANY_JOBS)
            ],
        )


def lay_long_job(site: Site) -> Job:
    """Store a running job of ten thousand steps, ten series each, and a sample for every step."""
    job = site.running_job(name="long run")
    at = now_utc()
    with site.services.database.transaction() as session:
        row = session.scalars(select(JobRow).where(JobRow.id == job.id)).one()
        seq = row.last_seq
        events: list[dict[str, Any]] = []
        for step in range(1, MANY_STEPS + 1):
            metrics = {name: 1.0 / (1 + step % 97) + index for index, name in enumerate(SERIES)}
            data = {"step": step, "total": 2 * MANY_STEPS, "metrics": metrics}
            sample = {
                "step": step, "question_id": f"q{step}", "question": f"{step} + 1?", "solution": str(step + 1),
                "text": f"One more than {step}.", "reward": -0.5, "r_ss": -0.2, "r_kl": 0.3, "well_formed": True,
            }  # fmt: skip
            for type_, told in (("progress", data), ("sample", sample)):
                seq += 1
                event = {"job_id": job.id, "seq": seq, "attempt": job.attempt, "created_at": at, "type": type_}
                events.append(event | {"data": told})
        session.execute(insert(JobEventRow), events)
        row.last_seq = seq
        row.progress = {
            "step": MANY_STEPS,
            "total": 2 * MANY_STEPS,
            "eta_s": 7200.0,
            "metrics": events[-2]["data"]["metrics"],
        }
    return job
