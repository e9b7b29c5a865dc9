"""`python -m rlt_service`: what it refuses before it listens, and the words for it."""

import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.reliability.slow_service import slow_service
from rlt_core.errors import ConfigurationError, StorageUnavailableError
from rlt_service.app import open_state
from rlt_service.launch.state_folder import StateFolder
from rlt_service.listening import address_of, is_loopback
from rlt_service.serve import checked, run
from rlt_service.settings import Settings
from rlt_service.store.database import Database
from rlt_service.store.keys import KeyStore
from tests.support.control import check_problem
from tests.support.waiting import wait_until


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command; give what it says when it does not start."""
    assert run(["--engine", "fake", *arguments]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org", ""])
def test_without_keys_only_loopback_is_listened_on(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not loopback.*rlt keys create"):
        checked(Settings(home=tmp_path, host=host, port=0, engine="fake"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.0.1", "::1", "localhost"])
def test_loopback_is_loopback(host: str) -> None:
    assert is_loopback(host)


def test_with_a_key_any_address_is_listened_on_also_when_it_was_revoked(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, host="0.0.0.0", port=0, engine="fake")
    with opened(settings) as keys:
        key = keys.create("0" * 12, name="ann", sha256="0" * 64, scopes=["admin"])
    assert checked(settings).port > 0
    with opened(settings) as keys:
        keys.revoke(key.id)
    assert checked(settings).port > 0


@contextmanager
def opened(settings: Settings) -> Generator[KeyStore]:
    database = Database(settings.database)
    database.start()
    yield KeyStore(database)
    database.close()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("::1", "http://[::1]:1"),
        ("10.0.0.7", "http://10.0.0.7:1"),
    ],
)
def test_what_listens_everywhere_is_reached_by_loopback(host: str, address: str) -> None:
    assert address_of(host, 1) == address


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {taken} of 127.0.0.1 is in use .* --port"):
            checked(Settings(home=tmp_path, port=taken))


def test_port_0_becomes_a_free_one(tmp_path: Path) -> None:
    assert checked(Settings(home=tmp_path, port=0)).port > 0


def test_a_format_that_there_is_not_is_refused_before_anything_is_stored_under_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="RLT_FORMAT is 'r2@1', no format: choose among stratos@1, r1@1"):
        checked(Settings(home=tmp_path, port=0, engine="fake", format="r2@1"))
    checked(Settings(home=tmp_path, port=0, engine="fake", format="r1@1"))


def test_a_base_that_was_stored_in_one_format_is_not_served_in_another(tmp_path: Path) -> None:
    checked(Settings(home=tmp_path, port=0, engine="fake"))
    with pytest.raises(ConfigurationError, match="RLT_BASE_NAME"):
        checked(Settings(home=tmp_path, port=0, engine="fake", format="r1@1"))


def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StorageUnavailableError, match="RLT_HOME"):
        checked(Settings(home=tmp_path / "home", port=0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", "99999"), "RLT_PORT is '99999'"),
        (("--roles", "teacher,oracle"), "oracle"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    said = refusal(capsys, "--home", str(tmp_path), *arguments)
    assert said.startswith("error: ")
    assert words in said
    assert said.count("\n") == 1


def test_a_base_that_has_become_another_is_refused_before_listening(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = Database(Settings(home=tmp_path).database)
    open_state(Settings(home=tmp_path, base_model="/models/fake"), database)
    database.close()
    assert "RLT_BASE_NAME" in refusal(capsys, "--home", str(tmp_path), "--port", "0")


@pytest.mark.processes
def test_it_serves_until_it_is_asked_to_end(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "rlt_service", "--home", str(tmp_path), "--engine", "fake", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--roles", "teacher,student"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                wait_until(lambda: _ready(client), what="it is ready")
                answer = client.post("/explain", json={"question": "?", "solution": "42"})
                assert (answer.status_code, answer.headers["RLT-Teacher-Version"]) == (200, "fake@0")
        finally:
            process.terminate()
            _, said = process.communicate(timeout=60)
    assert "Finished server process" in said


@pytest.mark.processes
def test_above_its_connections_a_server_refuses_at_once_and_takes_more_when_some_have_gone(tmp_path: Path) -> None:
    with slow_service(tmp_path / "home", delay_s=0.0, RLT_MAX_CONNECTIONS="8") as service:
        port = int(service.address.rpartition(":")[2])

        def status() -> int:
            answer = httpx.get(f"{service.address}/healthz", timeout=10.0)
            if answer.status_code == 503:
                assert "more than 8 connections" in check_problem(answer, 503, "unavailable")["detail"]
                assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
                assert answer.headers["x-request-id"]
            return answer.status_code

        with ExitStack() as idle:
            for _ in range(8):
                idle.enter_context(socket.create_connection(("127.0.0.1", port)))
            wait_until(lambda: status() == 503, what="no more is taken")
        wait_until(lambda: status() == 200, what="there is room again")


@pytest.mark.processes
def test_a_lone_server_keeps_its_state_folder_from_being_replaced(tmp_path: Path) -> None:
    with slow_service(tmp_path / "home", delay_s=0.0), pytest.raises(ConfigurationError, match="A server or a worker"):
        StateFolder(tmp_path / "home").take_alone()
    StateFolder(tmp_path / "home").take_alone()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
