"""What the command says to a wrong call, and the exit codes: one enum, one form of errors."""

import socket
from collections.abc import Callable

import pytest

from rlt_client.cli import main
from rlt_client.cli.app import HELP
from rlt_client.cli.exit_codes import ExitCode, of_status
from tests.cli.conftest import Ended, Rlt
from tests.support.cli_page import commands

Good = Callable[..., Ended]
WITHOUT_JSON = {"rlt up", "rlt demo"}
"""They run until they are ended, and show what happens meanwhile."""


def test_every_command_has_json_but_those_that_run_on() -> None:
    plain = {one.path for one in commands() if not one.is_group and "--json" not in one.flags}
    assert plain == WITHOUT_JSON


def test_every_command_and_every_option_says_what_it_does() -> None:
    assert [one.path for one in commands() if not one.words] == []
    assert [f"{one.path} {row.names}" for one in commands() for row in one.rows if not row.words] == []


def test_every_code_is_in_the_help() -> None:
    assert all(f"{code.value} {code.meaning}" in HELP for code in ExitCode)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("job",), "Did you mean 'jobs'?"),
        (("jobs", "lst"), "Did you mean 'list'?"),
        (("jobs", "list", "--limt", "3"), "Did you mean --limit?"),
        (("jobs", "list", "--status", "runing"), "Did you mean 'running'?"),
        (("train", "rl", "--promote.when", "if_bettr"), "Did you mean 'if_better'?"),
        (("train", "evaluate", "--report", "x"), "No such option: --report"),
        (("explain", "-q", "q"), "Missing option '--solution'"),
        (("jobs", "list", "--limit", "many"), "--limit"),
    ],
)
def test_a_typo_is_wrong_usage_that_names_the_nearest(rlt: Rlt, call: tuple[str, ...], said: str) -> None:
    ended = rlt(*call)
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert said in ended.err
    assert "Usage: rlt" in ended.err
    assert "--help` says more" in ended.err
    assert "Value error" not in ended.err
    assert "Traceback" not in ended.err
    error = rlt(*call, "--json").error
    assert (error["code"], error["exit_code"]) == ("usage", ExitCode.USAGE)
    assert said in error["message"]


@pytest.mark.parametrize("group", ["train", "jobs", "datasets", "teachers", "keys"])
def test_a_group_alone_shows_its_help(rlt: Rlt, group: str) -> None:
    ended = rlt(group)
    assert ended.code == ExitCode.USAGE
    assert f"Usage: rlt {group}" in ended.out + ended.err


def test_nobody_there_ends_with_5_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for more in ([], ["--json"]):
            with pytest.raises(SystemExit) as ended:
                main(["jobs", "list", "--base-url", address, *more])
            assert ended.value.code == ExitCode.UNAVAILABLE
            said = capsys.readouterr().err
            assert "rlt up" in said
            assert ('"retryable": true' in said) == bool(more)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((400, 2), (413, 2), (415, 2), (422, 2), (404, 3), (409, 1), (401, 6), (403, 6)),
        *((429, 5), (500, 1), (502, 5), (503, 5), (504, 5)),
    ],
)
def test_a_status_has_one_exit_code(status: int, code: int) -> None:
    assert of_status(status) == code
