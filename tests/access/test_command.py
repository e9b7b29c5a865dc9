"""`rlt keys`: what it prints and stores, and how `rlt` hands over to it."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rlt_client.cli import main
from rlt_client.cli.exit_codes import ExitCode
from rlt_service.access.command import run
from rlt_service.access.secrets import read_secret
from rlt_service.store.database import Database
from rlt_service.store.keys import Key, KeyStore


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RLT_HOME", str(tmp_path))
    return tmp_path


def stored(home: Path) -> list[Key]:
    database = Database(f"sqlite:///{home / 'rlt.db'}")
    database.start()
    found = list(KeyStore(database).list())
    database.close()
    return found


def test_a_secret_is_printed_alone_and_once_and_only_its_hash_is_stored(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["create", "--scope", "score", "--scope", "explain", "--max-per-minute", "60", "ann"]) == 0
    printed = capsys.readouterr()
    secret = read_secret(f"Bearer {printed.out.strip()}")
    assert secret is not None
    assert secret.text not in printed.err
    assert "first key" in printed.err
    [key] = stored(home)
    assert (key.id, key.name, key.scopes, key.max_per_minute) == (secret.key_id, "ann", ("score", "explain"), 60)
    assert secret.is_of(key.sha256)
    with closing(sqlite3.connect(home / "rlt.db")) as connection:
        assert secret.text[17:] not in "\n".join(connection.iterdump())
    assert run(["list"]) == 0
    shown = capsys.readouterr()
    assert secret.key_id in shown.out
    assert secret.text[17:] not in shown.out + shown.err


def test_a_rotation_prints_another_secret_and_a_revocation_ends_the_key(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["create", "ann", "--scope", "train"])
    first = read_secret(f"Bearer {capsys.readouterr().out.strip()}")
    assert first is not None
    assert run(["rotate", first.key_id]) == 0
    second = read_secret(f"Bearer {capsys.readouterr().out.strip()}")
    assert second is not None
    assert second.key_id == first.key_id
    [key] = stored(home)
    assert (second.is_of(key.sha256), first.is_of(key.sha256)) == (True, False)
    assert run(["revoke", first.key_id]) == 0
    assert stored(home)[0].revoked_at is not None
    assert run(["rotate", first.key_id]) == ExitCode.NOT_FOUND
    assert "was revoked" in capsys.readouterr().err


def test_an_unknown_key_is_an_error_that_says_how_to_find_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["revoke", "0" * 12, "--home", str(home)]) == ExitCode.NOT_FOUND
    assert "rlt keys list" in capsys.readouterr().err
    assert run(["revoke", "0" * 12, "--json"]) == ExitCode.NOT_FOUND
    failure = json.loads(capsys.readouterr().err)["error"]
    assert (failure["code"], failure["exit_code"]) == ("not_found", ExitCode.NOT_FOUND)


def test_json_has_the_secret_where_it_is_shown_and_nowhere_else(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["create", "ann", "--scope", "train", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["object"], made["name"], made["scopes"]) == ("key", "ann", ["train"])
    assert made["secret"].startswith("rlt_")
    for call in (["list", "--json"], ["revoke", made["id"], "--json"]):
        assert run(call) == 0
        shown = capsys.readouterr().out
        assert made["id"] in shown
        assert made["secret"] not in shown
    assert json.loads(shown)["revoked_at"]


@pytest.mark.parametrize("wrong", [["create", "ann"], ["create", "ann", "--scope", "all"], ["create", "--scope", "x"]])
def test_a_key_without_a_scope_that_there_is_cannot_be_made(home: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(wrong)
    assert not (home / "rlt.db").exists()


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (
            ["create", "ann", "--scope", "train", "--scope", "score", "--max-at-once", "4"],
            ["create", "--scope", "train", "--scope", "score", "--max-at-once", "4", "--", "ann"],
        ),
        (["list"], ["list"]),
        (["list", "--json"], ["list", "--json"]),
        (["revoke", "-x", "--home", "/h"], None),
        (["rotate", "0a", "--home", "/h"], ["rotate", "--home", "/h", "--", "0a"]),
    ],
)
def test_rlt_keys_hands_over_what_was_given(
    monkeypatch: pytest.MonkeyPatch, given: list[str], becomes: list[str] | None
) -> None:
    became: list[Any] = []

    def become(_program: str, arguments: list[str]) -> None:
        became.append(arguments[1:])
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    with pytest.raises(SystemExit) as ended:
        main(["keys", *given])
    assert (ended.value.code == 0) == (becomes is not None)
    assert became == ([] if becomes is None else [["-m", "rlt_service.access", *becomes]])
