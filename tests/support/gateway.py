"""The gateway as it is deployed, before servers of this machine: nginx on the project's own configuration."""

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.waiting import wait_until

TEMPLATE = Path(__file__).parents[2] / "docker" / "helm" / "rlt" / "files" / "gateway.conf.template"
END_S = 10.0
Rooms = Mapping[str, Sequence[int]]
"""Ports of each room's servers."""


def program() -> str | None:
    """Find nginx; .ci/run unpacks Debian's."""
    return shutil.which("nginx")


def configuration(rooms: Rooms, *, port: int, folder: Path) -> str:
    """Give the template as the image's envsubst would make it, but on loopback, with its files in `folder`.

    What a name of several addresses is to nginx, a line for each server is here.
    """
    text = TEMPLATE.read_text(encoding="utf-8").replace("listen 8080", f"listen 127.0.0.1:{port}")
    text = text.replace("/tmp/", f"{folder}/").replace("/dev/stdout", f"{folder}/calls.log")
    for room, ports in rooms.items():
        text = re.sub(rf"server \$\{{{room.upper()}_ADDRESS\}}(.*?;)", _lines(ports), text)
    return text


def _lines(ports: Sequence[int]) -> str:
    return "\n        ".join(rf"server 127.0.0.1:{port}\1" for port in ports)


class Gateway:
    """One nginx. What is killed stays dead until it is started again."""

    def __init__(self, nginx: str, folder: Path, *, port: int, rooms: Rooms) -> None:
        self._nginx = nginx
        self._folder = folder
        self._port = port
        self._rooms = rooms
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and wait until it listens; raises RuntimeError with its last words where it ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path, said = self._folder / "gateway.conf", self._folder / "said.log"
        path.write_text(configuration(self._rooms, port=self._port, folder=self._folder), encoding="utf-8")
        command = [self._nginx, "-c", str(path), "-e", "stderr", "-g", "daemon off;"]
        with said.open("ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._process = process
        wait_until(lambda: _listens(self._port) or process.poll() is not None, what="the gateway listens")
        if process.poll() is not None:
            raise RuntimeError(f"nginx ended with {process.returncode}: {said.read_text(encoding='utf-8')[-2000:]}")

    def reload(self) -> None:
        """Let it take up its configuration anew: old workers answer what they have and end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """Send SIGKILL to all of it: workers of a killed nginx would go on."""
        if self._process is not None:
            for process in [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children()]:
                process.kill()
            self._process.wait()
            self._process = None
            wait_until(lambda: not _listens(self._port), what="nobody listens any more")

    def stop(self) -> int | None:
        """Ask it to end when it has answered what it has; gives its exit code, None where none ran."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGQUIT)
        try:
            return self._process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL
        finally:
            self._process = None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
