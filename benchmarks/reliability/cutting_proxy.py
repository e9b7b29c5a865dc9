"""Own a proxy on loopback that breaks event streams off in the middle, and lets everything else pass."""

import random
import socket
import struct
import threading
from contextlib import closing, suppress
from types import TracebackType

CHUNK = 65536
FEWEST_BYTES, MOST_BYTES = 200, 8000
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends RST instead of FIN


class CuttingProxy:
    """Passes connections on to a port; an event stream is cut after a random number of bytes, inside an event."""

    def __init__(self, port: int, *, chance: random.Random) -> None:
        """Take the port that it stands before."""
        self._to = port
        self._chance = chance
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._cuts: list[str] = []
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def cuts(self) -> list[str]:
        """What was cut so far, a line each."""
        with self._lock:
            return list(self._cuts)

    def __enter__(self) -> "CuttingProxy":
        """Begin to listen."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Take no more; what is open ends with its two sides."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as server:
            head = client.recv(CHUNK)
            server.sendall(head)
            if b"text/event-stream" in head:
                self._stream(client, server)
                return
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            _pump(server, client)

    def _stream(self, client: socket.socket, server: socket.socket) -> None:
        with self._lock:
            left = round(FEWEST_BYTES * (MOST_BYTES / FEWEST_BYTES) ** self._chance.random())
            reset = self._chance.random() < 0.5
        line = f"cut after {left} bytes ({'RST' if reset else 'FIN'})"
        while left and (chunk := server.recv(min(left, CHUNK))):
            client.sendall(chunk)
            left -= len(chunk)
        if left:  # the server ended it
            return
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with self._lock:
            self._cuts.append(line)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(CHUNK):
            target.sendall(chunk)
    for side in (source, target):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
