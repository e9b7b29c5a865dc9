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
from tests.support.server import Up, free_port, is_ready, running_up
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up") / "home") as started:
        yield started


def refused(*arguments: str) -> str:
    """Run an `rlt up` that does not come up; gives what it says."""
    command = [sys.executable, "-m", "rlt_client", "up", "--engine", "fake", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def survivors(family: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def part(up: Up, name: str) -> psutil.Process | None:
    """Find the server's or the worker's own process, by what stands in its command line."""
    tree = psutil.Process(up.pid).children()[0]
    commands = {" ".join(child.cmdline()): child for child in tree.children()}
    # Celery writes its own words over the worker's command line.
    marks = {"server": ("-m rlt_service",), "worker": ("-m rlt_service.jobs.worker", "celeryd")}
    found = [child for line, child in commands.items() if any(mark in f"{line} " for mark in marks[name])]
    return next((child for child in found if name == "worker" or "jobs.worker" not in " ".join(child.cmdline())), None)


def pid_of(up: Up, name: str) -> int | None:
    found = part(up, name)
    return found.pid if found is not None else None


def test_it_answers_and_says_what_to_try(up: Up) -> None:
    with Client(up.base_url) as client:
        assert client.explain(question="What is 17 + 25?", solution="42").engine.name == "fake"
    wait_until(lambda: "Ctrl-C ends everything" in up.said(), what="it greets")
    assert f"curl -s {up.base_url}/explain" in up.said()


def test_it_writes_down_where_it_is(up: Up) -> None:
    assert json.loads((up.home / "server.json").read_text()) == {"pid": up.pid, "address": up.base_url}


def test_server_worker_and_broker_run_below_it(up: Up) -> None:
    assert pid_of(up, "server") is not None
    assert pid_of(up, "worker") is not None
    assert any("valkey" in process.name() for process in up.family())


def test_the_logs_lie_in_the_state_folder(up: Up) -> None:
    assert {"server.log", "worker.log"} <= {file.name for file in (up.home / "logs").iterdir()}


def test_a_second_one_on_the_same_folder_is_told_about_the_first(up: Up) -> None:
    said = refused("--home", str(up.home), "--port", str(free_port()))
    assert f"process {up.pid} at {up.base_url}" in said
    assert "--home FOLDER --port PORT" in said


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port {port} of 127.0.0.1 is in use" in refused("--home", str(tmp_path / "home"), "--port", port)


def test_a_file_in_the_folder_s_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    assert "it is a file, where a folder is needed" in refused("--home", str(tmp_path / "home"))


def test_a_setting_out_of_range_is_said(tmp_path: Path) -> None:
    assert "RLT_PORT (or --port) is" in refused_by_launcher("--home", str(tmp_path), "--port", "seven")


def refused_by_launcher(*arguments: str) -> str:
    command = [sys.executable, "-m", "rlt_service.launch", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    return done.stderr


def test_a_killed_server_and_a_killed_worker_come_back(up: Up) -> None:
    killed = {name: part(up, name) for name in ("server", "worker")}
    for process in killed.values():
        assert process is not None
        process.kill()
    wait_until(lambda: up.said().count("starting it again") == 2, what="both ends are said")
    for name, process in killed.items():
        wait_until(lambda: pid_of(up, name) not in (None, process and process.pid), what=f"the {name} is back")
    wait_until(lambda: is_ready(up), what="the server answers again", timeout_s=60.0)


def test_a_killed_broker_comes_back(up: Up) -> None:
    def brokers() -> list[psutil.Process]:
        return [process for process in up.family() if "valkey" in process.name()]

    brokers()[0].kill()
    wait_until(lambda: "the broker was gone" in up.said(), what="its end is said")
    assert survivors(brokers())


# Last, since it ends the server of this module.
def test_ctrl_c_leaves_no_process(up: Up) -> None:
    family = up.family()
    assert up.interrupt() == 0
    assert survivors(family) == []
    assert not (up.home / "server.json").exists()


@pytest.mark.parametrize("whom", ["the launcher", "the tree inside"])
def test_a_killed_launcher_leaves_no_process(tmp_path: Path, whom: str) -> None:
    with running_up(tmp_path / "home") as up:
        family = up.family()
        tree = psutil.Process(up.pid).children()[0]
        psutil.Process(up.pid if whom == "the launcher" else tree.pid).kill()
        wait_until(lambda: not survivors(family), what="all have ended", timeout_s=10.0)
        up.process.wait(timeout=10)
