"""`rlt projects` and `rlt audit`: what they store and print, and how `rlt` hands over to them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rlt_client.cli import main
from rlt_client.cli.exit_codes import ExitCode
from rlt_service.access import audit_command, command, project_command


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RLT_HOME", str(tmp_path))
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("home")
def test_a_project_is_made_bounded_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["create", "algebra", "--jobs-at-once", "2", "--gpu-hours-per-month", "1.5", "--json"]
    assert project_command.run(given) == 0
    made = printed(capsys)
    assert (made["name"], made["quotas"]["jobs_at_once"], made["quotas"]["gpu_hours_per_month"]) == ("algebra", 2, 1.5)
    assert project_command.run(["set", "algebra", "--jobs-at-once", "none", "--disk-bytes", "7", "--json"]) == 0
    quotas = printed(capsys)["quotas"]
    assert (quotas["jobs_at_once"], quotas["disk_bytes"], quotas["gpu_hours_per_month"]) == (None, 7, 1.5)
    assert project_command.run(["show", "algebra"]) == 0
    assert "0 of 7" in capsys.readouterr().out
    assert project_command.run(["list", "--json"]) == 0
    assert [one["name"] for one in printed(capsys)["data"]] == ["algebra"]
    assert project_command.run(["list"]) == 0
    assert "0 of no limit" in capsys.readouterr().out


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (["create", "No Name"], "name is 'No Name'"),
        (["create", "algebra", "--jobs-at-once", "-1"], "jobs-at-once is -1"),
        (["create", "algebra", "--disk-bytes", "1.5"], "disk-bytes is 1.5"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(
    capsys: pytest.CaptureFixture[str], wrong: list[str], why: str
) -> None:
    assert project_command.run(wrong) == ExitCode.FAILED
    assert why in capsys.readouterr().err
    assert project_command.run(["list", "--json"]) == 0
    assert printed(capsys)["data"] == []


@pytest.mark.usefixtures("home")
def test_an_unknown_project_is_an_error_that_says_how_to_find_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert project_command.run(["set", "nobody"]) == ExitCode.NOT_FOUND
    assert "rlt projects list" in capsys.readouterr().err
    assert command.run(["create", "ann", "--scope", "train", "--project", "nobody"]) == ExitCode.NOT_FOUND
    assert audit_command.run(["--project", "nobody"]) == ExitCode.NOT_FOUND


@pytest.mark.usefixtures("home")
def test_what_commands_did_stands_in_the_audit_log(capsys: pytest.CaptureFixture[str]) -> None:
    project_command.run(["create", "algebra", "--json"])
    project = printed(capsys)
    command.run(["create", "ann", "--scope", "train", "--project", "algebra", "--json"])
    key = printed(capsys)
    assert key["project"] == "algebra"
    command.run(["rotate", key["id"]])
    project_command.run(["set", "algebra", "--jobs-at-once", "1"])
    command.run(["revoke", key["id"]])
    command.run(["list"])
    assert "algebra" in capsys.readouterr().out
    assert audit_command.run(["--json"]) == 0
    found = [(one["action"], one["subject"], one["project"], one["key"]) for one in printed(capsys)["data"]]
    assert found == [
        (f"rlt {what}", subject, project["id"], None)
        for what, subject in [
            ("keys revoke", key["id"]),
            ("projects set", "algebra"),
            ("keys rotate", key["id"]),
            ("keys create", key["id"]),
            ("projects create", "algebra"),
        ]
    ]
    assert audit_command.run(["--limit", "1", "--project", "algebra"]) == 0
    shown = capsys.readouterr().out
    assert "keys revoke" in shown
    assert "keys create" not in shown


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (
            ["projects", "create", "algebra", "--jobs-at-once", "2", "--tokens-per-day", "none"],
            ["project_command", "create", "--tokens-per-day", "none", "--jobs-at-once", "2", "--", "algebra"],
        ),
        (["projects", "set", "a", "--json"], ["project_command", "set", "--json", "--", "a"]),
        (["projects", "show", "a", "--home", "/h"], ["project_command", "show", "--home", "/h", "--", "a"]),
        (["projects", "list"], ["project_command", "list"]),
        (["audit", "--key", "0a", "--json"], ["audit_command", "--limit", "50", "--key", "0a", "--json"]),
    ],
)
def test_rlt_hands_over_what_was_given(monkeypatch: pytest.MonkeyPatch, given: list[str], becomes: list[str]) -> None:
    became: list[list[str]] = []

    def become(_program: str, arguments: list[str]) -> None:
        became.append(arguments[1:])
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    with pytest.raises(SystemExit):
        main(given)
    assert became == [["-m", f"rlt_service.access.{becomes[0]}", *becomes[1:]]]
