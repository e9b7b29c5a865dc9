import socket

import pytest

from rlt_core.errors import ConfigurationError
from rlt_service.launch import port


def test_a_port_in_use_is_said_with_how_to_choose_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {taken} .* is in use .*--port N or RLT_PORT=N"):
            port.claim("127.0.0.1", taken)


def test_port_0_takes_a_free_one() -> None:
    assert port.claim("127.0.0.1", 0) > 0


def test_an_address_of_another_machine_is_said() -> None:
    with pytest.raises(ConfigurationError, match="cannot be listened on"):
        port.claim("192.0.2.1", 8400)
