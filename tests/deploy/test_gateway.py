"""The gateway sends each path to a process that has it, and cuts off nothing that the servers allow."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.routing import Route

from rlt_service.app import ROUTERS
from rlt_service.roles import ProcessRole
from rlt_service.serve import KEEP_ALIVE_S
from rlt_service.settings import Settings
from tests.deploy.commands import settings_from
from tests.deploy.composition import MAIN, services_of

TEMPLATE = Path(__file__).parents[2] / "docker" / "helm" / "rlt" / "files" / "gateway.conf.template"
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


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx: `apt-get install nginx-light`")
def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "gateway.conf"
    path.write_text(re.sub(r"\$\{\w+_ADDRESS\}", "127.0.0.1:8400", CONFIGURATION), encoding="utf-8")
    done = subprocess.run(["nginx", "-t", "-c", path, "-e", "stderr"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
