"""The whole of `rlt up`, as real processes on the fake engine."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rlt_client import Client
from rlt_service.launch import inside
from tests.jobs.site import stub_environment
from tests.support.server import Up, free_port, is_ready, running_up, starting_up
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    with running_up(folder / "home", environment=stub_environment(folder)) as started:
        yield started


def refused(*arguments: str) -> str:
    """Run an `rlt up` that does not come up; gives what it says."""
    command = [sys.executable, "-m", "rlt_client", "up", "--engine", "fake", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def survivors(family: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in family if lives(process)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def part(up: Up, name: str) -> psutil.Process | None:
    """Find the server's or the worker's own process, by what stands in its command line."""
    # Celery writes its own words over the worker's command line.
    marks = {"server": ("-m rlt_service ",), "worker": ("-m rlt_service.jobs.worker ", "celeryd")}[name]
    below = psutil.Process(up.pid).children()[0].children()
    return next((child for child in below if any(mark in f"{command_of(child)} " for mark in marks)), None)


def is_there(up: Up, name: str, *, besides: psutil.Process | None = None) -> bool:
    found = part(up, name)
    return found is not None and found != besides


def test_it_answers_and_says_what_to_try(up: Up) -> None:
    with Client(up.base_url) as client:
        assert client.explain(question="What is 17 + 25?", solution="42").engine.name == "fake"
    wait_until(lambda: "Ctrl-C ends everything" in up.said(), what="it greets")
    assert f"curl -s {up.base_url}/explain" in up.said()


def test_it_writes_down_where_it_is(up: Up) -> None:
    assert json.loads((up.home / "server.json").read_text()) == {"pid": up.pid, "address": up.base_url}


def test_server_worker_and_broker_run_below_it(up: Up) -> None:
    assert is_there(up, "server")
    assert is_there(up, "worker")
    assert any("valkey" in process.name() for process in up.family())


def test_the_logs_lie_in_the_state_folder(up: Up) -> None:
    assert {"server.log", "worker.log"} <= {file.name for file in (up.home / "logs").iterdir()}


def test_a_second_one_on_the_same_folder_is_told_about_the_first(up: Up) -> None:
    family, note = {process.pid for process in up.family()}, (up.home / "server.json").read_text()
    said = refused("--home", str(up.home), "--port", str(free_port()))
    assert f"process {up.pid} at {up.base_url}" in said
    assert "--home FOLDER --port PORT" in said
    assert {process.pid for process in up.family()} == family
    assert (up.home / "server.json").read_text() == note
    with Client(up.base_url) as client:
        assert client.ready().status == "ready"


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port {port} of 127.0.0.1 is in use" in refused("--home", str(tmp_path / "home"), "--port", port)


def test_a_file_in_the_folder_s_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    assert "it is a file, where a folder is needed" in refused("--home", str(tmp_path / "home"))


def test_a_setting_that_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inside.run(home=tmp_path / "home", engine="steam") == 1
    assert "RLT_ENGINE (or --engine) is 'steam'" in capsys.readouterr().err


def test_a_lease_that_does_not_hold_three_beats_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLT_LEASE_S", "3")
    assert inside.run(home=tmp_path / "home", engine="fake") == 1
    said = capsys.readouterr().err
    assert "RLT_HEARTBEAT_S" in said
    assert "to 1 or less, or RLT_LEASE_S to 15 or more" in " ".join(said.split())


def test_a_killed_server_and_a_killed_worker_come_back(up: Up) -> None:
    server, worker = part(up, "server"), part(up, "worker")
    assert server is not None
    assert worker is not None
    server.kill()
    worker.kill()
    wait_until(lambda: up.said().count("starting it again") == 2, what="both ends are said")
    wait_until(lambda: is_there(up, "server", besides=server), what="the server is back")
    wait_until(lambda: is_there(up, "worker", besides=worker), what="the worker is back")
    wait_until(lambda: is_ready(up), what="the server answers again", timeout_s=60.0)


def test_a_killed_broker_comes_back(up: Up) -> None:
    def brokers() -> list[psutil.Process]:
        return [process for process in up.family() if "valkey" in process.name()]

    brokers()[0].kill()
    wait_until(lambda: "the broker was gone" in up.said(), what="its end is said")
    assert survivors(brokers())


# Last, since it ends the server of this module.
def test_what_a_killed_workers_trainer_left_in_other_sessions_is_ended(up: Up) -> None:
    wait_until(lambda: is_there(up, "worker"), what="a worker")
    with Client(up.base_url) as client:
        dataset = client.datasets.create([{"question": "1+1?", "solution": "2", "reasoning_trace": "One more than 1."}])
        spec = {"kind": "warmup", "role": "teacher", "target_name": "algebra", "name": "stubborn-once"}
        job = client.train({**spec, "dataset": dataset.id})
        noted = up.home / "artifacts" / "jobs" / job.id / "attempt-1" / "pids"
        wait_until(lambda: noted.exists() and len(noted.read_text().split()) == 2, what="it trains", timeout_s=60.0)
        left, worker = [psutil.Process(int(pid)) for pid in noted.read_text().split()], part(up, "worker")
        assert worker is not None
        worker.kill()
        wait_until(lambda: not survivors(left), what="trainer and orphan have ended")


def test_ctrl_c_leaves_no_process(up: Up) -> None:
    family = up.family()
    assert up.interrupt() == 0
    assert survivors(family) == []
    assert not (up.home / "server.json").exists()


def all_gone_after_killing(process: psutil.Process, *, family: list[psutil.Process], up: Up) -> bool:
    process.kill()
    wait_until(lambda: not survivors(family), what="all have ended", timeout_s=10.0)
    up.process.wait(timeout=10)
    return True


def test_a_killed_launcher_leaves_no_process(tmp_path: Path) -> None:
    with running_up(tmp_path / "home") as up:
        assert all_gone_after_killing(psutil.Process(up.pid), family=up.family(), up=up)


def test_a_launcher_whose_inside_is_killed_leaves_no_process(tmp_path: Path) -> None:
    with starting_up(tmp_path / "home") as up:
        wait_until(lambda: len(up.family()) >= 4, what="broker, server and worker are there")
        tree = psutil.Process(up.pid).children()[0]
        assert all_gone_after_killing(tree, family=up.family(), up=up)
        assert "ended by SIGKILL" in up.said()
