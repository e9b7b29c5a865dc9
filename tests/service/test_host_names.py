"""By which names the server may be addressed: a page whose own name points here (DNS rebinding) is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rlt_service.host_names import allowed_hosts
from rlt_service.settings import Settings
from tests.support.control import check_problem
from tests.support.service import running_app


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(
        tmp_path_factory.mktemp("hosts"), allowed_hosts=("testserver", "localhost", "rlt.example.org")
    ) as client:
        yield client


KNOWN = ["localhost", "localhost:8400", "LocalHost.", "127.0.0.1:8400", "[::1]:8400", "192.168.1.5", "rlt.example.org"]
FOREIGN = [
    "evil.example",
    "evil.example:8400",
    "localhost.evil.example",
    "localhost@evil.example",
    "",
    "[::1",
    "a:b",
    "/",
]


@pytest.mark.parametrize("host", KNOWN)
def test_our_own_names_and_addresses_in_figures_are_served(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_a_call_that_names_another_host_is_refused_whatever_it_asks(client: TestClient, host: str) -> None:
    for method, path in (("GET", "/v1/jobs"), ("GET", "/metrics"), ("POST", "/v1/explain"), ("GET", "/nothing")):
        answer = client.request(method, path, headers={"Host": host})
        assert "RLT_ALLOWED_HOSTS" in check_problem(answer, 403, "forbidden")["detail"]


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({}, ("localhost", "127.0.0.1")),
        ({"host": "localhost"}, ("localhost", "localhost")),
        ({"host": "0.0.0.0"}, ("*",)),
        ({"host": "rlt.example.org"}, ("*",)),
        ({"host": "0.0.0.0", "allowed_hosts": ("rlt.example.org",)}, ("rlt.example.org",)),
        ({"allowed_hosts": ("*",)}, ("*",)),
    ],
)
def test_on_loopback_only_its_own_names_are_ours(
    tmp_path: Path, settings: dict[str, object], allowed: tuple[str, ...]
) -> None:
    given = Settings.model_validate({"home": tmp_path} | settings)
    assert tuple(allowed_hosts(given)) == allowed
