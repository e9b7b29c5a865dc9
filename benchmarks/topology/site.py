"""Own an installation as compose has it, as processes of one machine: replicas behind nginx, workers, the stores.

What is killed stays dead until it is started again.
"""

import subprocess
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.reliability.parts import looping_plant
from benchmarks.reliability.plant import Plant, Serving, free_port, wait_for
from tests.support.gateway import Gateway, program
from tests.support.postgres import PLAIN, Postgres, own_postgres, programs

ROLES: Mapping[str, str] = {"control": "control", "teacher": "teacher,control", "student": "student"}
"""What a server of each room plays, as in docker-compose.yml: a version is proved by an engine, so the teacher has
control too."""
REPLICAS = 2
WORKERS = 3
DATABASE = {**PLAIN, "max_connections": "300"}
"""Nine processes of up to 32 connections each, and what watches them."""
READY_S = 240.0
"""Six servers start at once, and may have to share two cores with other tests."""
ASK_S = 5.0


@dataclass(slots=True, kw_only=True)
class Replica:
    """One server, at a port that it keeps."""

    room: str
    number: int
    port: int
    process: subprocess.Popen[bytes]

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self.room}-{self.number}"

    @property
    def address(self) -> str:
        """Where it answers, past the gateway."""
        return f"http://127.0.0.1:{self.port}"


class Site:
    """All of it; `address` is the gateway's, which callers, workers and trainers use alike."""

    def __init__(self, home: Path, *, database: Postgres, nginx: str) -> None:
        self.plant: Plant = looping_plant(
            home,
            serving=Serving(module="benchmarks.topology.server"),
            database_url=database.url("postgres"),
            RLT_DASHBOARD="off",
        )
        self.database = database
        ports = _ports(len(ROLES) * REPLICAS, taken=self.plant.port)
        self._ports = {room: [ports.pop() for _ in range(REPLICAS)] for room in ROLES}
        self.gateway = Gateway(nginx, home / "gateway", port=self.plant.port, rooms=self._ports)
        self.replicas: list[Replica] = []

    @property
    def address(self) -> str:
        """Where all of it is one server."""
        return self.plant.address

    def start(self) -> None:
        """Start everything, and wait until it is ready."""
        self.plant.home.mkdir(parents=True, exist_ok=True)
        self.plant.database.start()
        self.plant.broker.start()
        self.gateway.start()
        for room, ports in self._ports.items():
            for number, port in enumerate(ports, start=1):
                self.replicas.append(Replica(room=room, number=number, port=port, process=self._serve(room, port)))
        self.wait_ready()
        self.plant.store_dataset()
        for _ in range(WORKERS):
            self.plant.start_worker()

    def of(self, room: str) -> list[Replica]:
        """Give the servers of a room."""
        return [replica for replica in self.replicas if replica.room == room]

    def restart(self, replica: Replica) -> None:
        """Start a server that has ended, at its port; returns at once."""
        replica.process = self._serve(replica.room, replica.port)

    def wait_ready(self) -> None:
        """Wait until every server says that it is; raises TimeoutError, with what the log of one that is not says."""
        for replica in self.replicas:
            try:
                wait_for(lambda one=replica: _is_ready(one), what=f"{replica.name} is ready", timeout_s=READY_S)
            except TimeoutError as error:
                log = self.plant.home / f"control-{replica.port}.log"
                said = log.read_text(encoding="utf-8", errors="replace")
                raise TimeoutError(f"{error}; exit code {replica.process.poll()}; it said: {said[-700:]}") from error

    def end(self) -> list[int]:
        """End everything; give the processes that were left of it, which should be none."""
        self.gateway.stop()
        return [process.pid for process in self.plant.end()]

    def _serve(self, room: str, port: int) -> subprocess.Popen[bytes]:
        self.plant.start_control(roles=ROLES[room], port=port)
        return self.plant.controls[-1]


@contextmanager
def running_site(folder: Path) -> Generator[Site]:
    """Lend a site that is ready; raises FileNotFoundError where Postgres or nginx is not there."""
    nginx = program()
    if programs() is None or nginx is None:
        raise FileNotFoundError(f"this needs Debian's `postgresql` and `nginx`; missing: {' and '.join(missing())}")
    with ExitStack() as stack:
        database = stack.enter_context(own_postgres(options=DATABASE))
        site = Site(folder / "home", database=database, nginx=nginx)
        stack.callback(site.end)
        site.start()
        yield site


def missing() -> list[str]:
    """Name what is not installed here."""
    found = {"postgresql": programs(), "nginx": program()}
    return [name for name, where in found.items() if where is None]


def _ports(count: int, *, taken: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
        found.discard(taken)
    return sorted(found)


def _is_ready(replica: Replica) -> bool:
    try:
        return httpx.get(f"{replica.address}/readyz", timeout=ASK_S, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
