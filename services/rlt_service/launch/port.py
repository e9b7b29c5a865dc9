"""Own the choice of the port: the one asked for, if it is free; any free one for 0."""

import errno
import socket

from rlt_core.errors import ConfigurationError


def claim(host: str, port: int) -> int:
    """Give a port that can be listened on; raises ConfigurationError that says how to choose another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            reason = "is in use by another program" if in_use else f"cannot be listened on ({error.strerror})"
            raise ConfigurationError(
                f"port {port} of {host} {reason}: choose another with --port N or RLT_PORT=N (0 takes a free one)"
            ) from error
        return int(probe.getsockname()[1])
