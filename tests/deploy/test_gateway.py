"""The gateway sends each path to a process that has it, and cuts off nothing that the servers allow."""

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from rlt_core import addresses
from rlt_service.app import ROUTERS
from rlt_service.roles import ProcessRole
from rlt_service.serve import KEEP_ALIVE_S
from rlt_service.settings import Settings
from tests.deploy.commands import settings_from
from tests.deploy.composition import MAIN, services_of
from tests.support.gateway import TEMPLATE, Gateway, configuration, program
from tests.support.server import free_port

CONFIGURATION = TEMPLATE.read_text(encoding="utf-8")
ROUTES = [
    (role, route.path)
    for role, routers in ROUTERS.items()
    for router in routers
    for route in router.routes
    if isinstance(route, Route)
]


def room_of(path: str) -> str:
    """Find where the map of the configuration sends a path."""
    block = re.search(r"map \$uri \$room \{(.*?)\n    \}", CONFIGURATION, re.DOTALL)
    assert block is not None
    lines = [line.split() for line in block[1].strip().rstrip(";").split(";")]
    default = next(room for pattern, room in lines if pattern == "default")
    found = [room for pattern, room in lines if pattern.startswith("~") and re.search(pattern[1:], path)]
    return found[0] if found else default


def roles_at(room: str) -> tuple[ProcessRole, ...]:
    return settings_from(services_of(MAIN)[room]["environment"]).roles


def value_of(directive: str) -> str:
    found = re.findall(rf"^\s*{directive} ([^;]+);", CONFIGURATION, re.MULTILINE)
    assert len(found) == 1, directive
    return str(found[0])


@pytest.mark.parametrize(("role", "path"), sorted(set(ROUTES)))
def test_each_path_goes_to_a_process_that_plays_its_role(role: ProcessRole, path: str) -> None:
    assert role in roles_at(room_of(path.replace("{", "").replace("}", "")))


def test_clients_that_choose_among_servers_send_each_path_where_the_gateway_does() -> None:
    for _, path in ROUTES:
        named = path.replace("{", "").replace("}", "")
        room = addresses.room_of(named)
        assert {"prover": "teacher", "any": "control"}.get(room, room) == room_of(named), path


@pytest.mark.parametrize(
    "path",
    [
        "/v1/aliases/teacher/default",
        "/v1/aliases/teacher/default/rollback",
        "/v1/aliases/teacher/default/shadow",
        "/v1/teachers/algebra/versions",
        "/v1/students/algebra/versions",
        "/v1/train",
    ],
)
def test_what_an_engine_has_to_prove_goes_to_a_process_with_one(path: str) -> None:
    assert {"teacher", "student"} & set(roles_at(room_of(path)))


@pytest.mark.parametrize("path", ["/", "/v1/jobs", "/v1/explainers", "/v1/trainings", "/openapi.json", "/readyz"])
def test_what_is_like_none_of_them_goes_to_control(path: str) -> None:
    assert room_of(path) == "control"


def test_the_gateway_cuts_off_nothing_that_a_server_allows() -> None:
    settings = Settings()
    assert float(value_of("proxy_read_timeout").rstrip("s")) > settings.max_request_timeout_s
    assert float(value_of("proxy_send_timeout").rstrip("s")) > settings.max_request_timeout_s
    assert int(value_of("client_max_body_size").rstrip("m")) * 2**20 > settings.max_dataset_bytes
    assert value_of("proxy_buffering") == value_of("proxy_request_buffering") == "off"
    # nginx lets an idle connection go before the server does, so that no call meets a closed one.
    assert KEEP_ALIVE_S > 60


def test_metrics_are_not_for_callers() -> None:
    assert re.search(r"location = /metrics \{\s*return 404;", CONFIGURATION)


def test_upstreams_are_named_as_compose_names_them() -> None:
    wanted = set(re.findall(r"\$\{(\w+)\}", CONFIGURATION))
    given = services_of(MAIN)["gateway"]["environment"]
    assert {name for name in given if name.endswith("_ADDRESS")} == wanted
    for name in wanted:
        host, port = given[name].split(":")
        assert services_of(MAIN)[host]["environment"]["RLT_PORT"] == port


class Room(BaseHTTPRequestHandler):
    """Says which server was called, by which path and under which name."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.connection.getsockname()[1]} {self.path} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def rooms() -> Iterator[dict[str, int]]:
    """Serve a stand-in of each room; gives their ports."""
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        for room in ("control", "teacher", "student"):
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Room))
            server.daemon_threads, server.block_on_close = True, False
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            ports[room] = server.server_port
        yield ports


@pytest.fixture
def gateway(rooms: dict[str, int], tmp_path: Path) -> Iterator[str]:
    """Run nginx with the configuration before the rooms; gives its address."""
    nginx = program()
    if nginx is None:
        pytest.skip("no nginx: .ci/run unpacks Debian's")
    server = Gateway(nginx, tmp_path, port=free_port(), rooms={room: [port] for room, port in rooms.items()})
    server.start()
    try:
        yield server.address
    finally:
        assert server.stop() == 0


def test_several_servers_of_a_room_are_a_line_each(tmp_path: Path) -> None:
    text = configuration({"control": [1, 2], "teacher": [3], "student": [4]}, port=5, folder=tmp_path)
    assert re.findall(r"server (127\.0\.0\.1:\d) (fail_timeout=\d+s);", text) == [
        (f"127.0.0.1:{port}", "fail_timeout=2s") for port in (1, 2, 3, 4)
    ]
    assert re.search(r"\$\{\w+\}", text) is None
    assert "/tmp/" not in text.replace(str(tmp_path), "")


def test_nginx_passes_each_path_on_to_its_room(gateway: str, rooms: dict[str, int]) -> None:
    with httpx.Client(base_url=gateway, trust_env=False) as client:
        for path in sorted({path.replace("{", "").replace("}", "") for _, path in ROUTES}):
            query = f"{path}?limit=2"
            host = gateway.removeprefix("http://")
            assert client.get(query).text == f"{rooms[room_of(path)]} {query} {host}"
        assert client.get("/metrics").status_code == 404
