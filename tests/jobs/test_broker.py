import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from rlt_core.errors import ConfigurationError, UnavailableError
from rlt_core.schemas.jobs import QUEUE
from rlt_service.jobs.bell import CeleryBell
from rlt_service.jobs.broker import MAX_SOCKET_PATH, EmbeddedValkey, broker_folders
from rlt_service.jobs.celery_app import make_celery
from rlt_service.settings import Settings
from tests.support.waiting import wait_until

STARTS_A_BROKER = """
import sys, time
from pathlib import Path
from rlt_service.jobs.broker import EmbeddedValkey
EmbeddedValkey(Path(sys.argv[1])).start()
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    broker = EmbeddedValkey(tmp_path)
    yield broker
    broker.stop()


def test_a_second_start_adopts_the_living_server_and_can_end_it(broker: EmbeddedValkey, tmp_path: Path) -> None:
    broker.start()
    pid = broker.pid
    other = EmbeddedValkey(tmp_path)
    assert other.start() == broker.url
    assert other.pid == pid
    other.stop()
    assert not broker.alive()
    broker.stop()
    assert pid is not None
    wait_until(lambda: not psutil.pid_exists(pid), what="the broker's end")


def test_a_server_outlives_its_killed_starter_and_the_next_start_adopts_it(
    broker: EmbeddedValkey, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", STARTS_A_BROKER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        starter.kill()
    [left] = servers_of(tmp_path)
    assert broker.start() == broker_folders(tmp_path).url
    assert broker.pid == left.pid
    assert servers_of(tmp_path) == [left]
    broker.stop()
    wait_until(lambda: servers_of(tmp_path) == [], what="the end of what nobody here has started")


def test_a_server_that_is_slow_to_answer_is_adopted_and_gets_no_second_over_its_files(
    broker: EmbeddedValkey, tmp_path: Path
) -> None:
    broker.start()
    pid = broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    # Longer than a ping waits, shorter than the patience.
    threading.Timer(2.5, os.kill, (pid, signal.SIGCONT)).start()
    other = EmbeddedValkey(tmp_path)
    assert other.start() == broker.url
    assert other.pid == pid
    assert len(servers_of(tmp_path)) == 1


def test_a_foreign_server_that_hangs_is_left_alone_and_that_is_said(broker: EmbeddedValkey, tmp_path: Path) -> None:
    broker.start()
    pid = broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(UnavailableError, match="has not answered"):
            EmbeddedValkey(tmp_path).start()
        assert [process.pid for process in servers_of(tmp_path)] == [pid]
        assert (broker_folders(tmp_path).data / "appendonlydir").is_dir()
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(broker.alive, what="it goes on")


def test_an_own_server_that_hangs_is_ended_before_another_starts(broker: EmbeddedValkey, tmp_path: Path) -> None:
    broker.start()
    pid = broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    broker.start()
    assert broker.pid not in (None, pid)
    assert [process.pid for process in servers_of(tmp_path)] == [broker.pid]


def servers_of(home: Path) -> list[psutil.Process]:
    """Find the servers that run over a state folder's files."""
    socket = str(broker_folders(home).socket)
    return [
        process
        for process in psutil.process_iter(["name", "status"])
        if "valkey" in process.info["name"]
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and _uses(process, socket)
    ]


def _uses(process: psutil.Process, socket: str) -> bool:
    try:
        return any(socket in part for part in process.cmdline()) or any(
            connection.laddr == socket for connection in process.net_connections(kind="unix")
        )
    except psutil.Error:
        return False


def test_the_socket_is_private_and_no_port_is_open(broker: EmbeddedValkey, tmp_path: Path) -> None:
    broker.start()
    folders = broker_folders(tmp_path)
    assert stat.S_IMODE(folders.socket.stat().st_mode) == 0o700
    assert stat.S_IMODE(folders.socket.parent.stat().st_mode) == 0o700
    assert psutil.Process(broker.pid).net_connections(kind="inet") == []


def test_the_running_server_keeps_bells_on_disk_and_throws_none_away(broker: EmbeddedValkey, tmp_path: Path) -> None:
    broker.start()
    with redis.Redis(unix_socket_path=str(broker_folders(tmp_path).socket), decode_responses=True) as opened:
        client: Any = opened  # redis types its commands in part only
        found = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy")}
    assert found == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}


def test_a_killed_broker_starts_again_and_still_has_the_bells(broker: EmbeddedValkey, tmp_path: Path) -> None:
    broker.start()
    bell = CeleryBell(make_celery(Settings(home=tmp_path)))
    assert not bell.sounding(QUEUE)
    bell.ring(QUEUE)
    with redis.Redis(unix_socket_path=str(broker_folders(tmp_path).socket)) as client:
        client.execute_command("WAITAOF", 1, 0, 5000)
    os.kill(broker.pid or 0, signal.SIGKILL)
    wait_until(lambda: not broker.alive(), what="the broker's death")
    broker.start()
    assert bell.sounding(QUEUE)


def test_an_unreadable_append_only_file_costs_bells_not_the_start(broker: EmbeddedValkey, tmp_path: Path) -> None:
    broker.start()
    broker.stop()
    for path in list((broker_folders(tmp_path).data / "appendonlydir").iterdir()):
        path.write_bytes(b"not what valkey wrote\r\n" * 10)
    broker.start()
    assert broker.alive()


def test_ringing_without_a_broker_fails_at_once_and_says_so(tmp_path: Path) -> None:
    bell = CeleryBell(make_celery(Settings(home=tmp_path)))
    with pytest.raises(UnavailableError, match="wait in the database"):
        bell.ring(QUEUE)
    with pytest.raises(UnavailableError):
        bell.sounding(QUEUE)


@pytest.mark.parametrize("name", ["x" * 150, "with space", "with?mark"])
def test_a_state_folder_that_no_socket_can_lie_in_gets_a_short_one(tmp_path: Path, name: str) -> None:
    folders = broker_folders(tmp_path / name)
    assert len(str(folders.socket)) <= MAX_SOCKET_PATH
    assert folders == broker_folders(tmp_path / name)
    assert folders != broker_folders(tmp_path / (name + "2"))


def test_a_file_in_the_place_of_the_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "broker").write_text("in the way")
    with pytest.raises(ConfigurationError, match="RLT_HOME"):
        EmbeddedValkey(tmp_path).start()
