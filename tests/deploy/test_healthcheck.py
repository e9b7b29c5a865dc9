"""docker/healthcheck.py says by its exit code whether the server of a container answers 200."""

import importlib.util
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlt_service.settings import Settings

PATH = Path(__file__).parents[2] / "docker" / "healthcheck.py"


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def healthcheck() -> Any:
    spec = importlib.util.spec_from_file_location("healthcheck", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        monkeypatch.setenv("RLT_PORT", str(server.server_port))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_only_an_answer_of_200_is_healthy(healthcheck: Any, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main("/healthz") == 0
    assert healthcheck.main("/readyz") == 1
    assert "/readyz answered 503" in capsys.readouterr().err


def test_no_answer_is_not_healthy(healthcheck: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLT_PORT", "1")
    assert healthcheck.main("/healthz") == 1


def test_the_port_is_the_servers_own_where_nothing_names_another(healthcheck: Any) -> None:
    assert int(healthcheck.PORT) == Settings.model_fields["port"].default
