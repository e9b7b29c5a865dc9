"""The command as a process: a reader that goes away, Ctrl-C, and what its start imports."""

import signal
import socket
import subprocess
import sys

import pytest

from rlt_client.cli.exit_codes import ExitCode

RLT = (sys.executable, "-m", "rlt_client")
HEAVY = ("fastapi", "starlette", "torch", "vllm", "transformers", "sqlalchemy", "numpy", "pandas", "rlt_service")
HELP = f"""
import sys
from rlt_client.cli import main
try:
    main(["--help"])
except SystemExit:
    sys.stderr.write(" ".join(name for name in {HEAVY!r} if name in sys.modules))
"""


@pytest.mark.parametrize("call", [("--version",), ("train", "rl", "--help")])
def test_a_reader_that_has_gone_ends_it_quietly_with_141(call: tuple[str, ...]) -> None:
    with subprocess.Popen([*RLT, *call], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == ExitCode.READER_GONE


def test_ctrl_c_ends_a_call_that_waits_with_130_and_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [*RLT, "jobs", "list", "--base-url", address]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_ctrl_c
        ) as process:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(1)
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in said


def _heed_ctrl_c() -> None:
    # Tests that a script started in the background inherit from it that SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_help_imports_nothing_of_the_server_or_of_training() -> None:
    ended = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=60, check=False)
    assert "Usage: rlt" in ended.stdout
    assert ended.stderr == ""
