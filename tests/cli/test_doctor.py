"""`rlt doctor`: what it looks at, what it says to do, and that it changes nothing."""

import json
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rlt_client.cli.exit_codes import ExitCode
from rlt_service.access.command import run as keys
from rlt_service.doctor import Finding, findings
from rlt_service.store.migration import newest_schema
from tests.cli.conftest import Rlt
from tests.support.schema import lay_schema


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RLT_HOME", str(tmp_path))
    monkeypatch.setenv("RLT_ENGINE", "fake")
    monkeypatch.setenv("RLT_PORT", "0")
    return tmp_path


def found(home: Path) -> dict[str, Finding]:
    return {one["name"]: one for one in findings(home)}


def contents(folder: Path) -> dict[str, tuple[int, float]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime) for path in folder.iterdir()}


def test_a_new_machine_is_looked_at_and_nothing_is_made(home: Path) -> None:
    seen = found(home)
    assert [*seen] == [
        *("settings", "state folder", "disk", "memory", "cores", "engine", "trainer", "base model", "port", "database"),
        *("queues", "artifact store"),
    ]
    assert seen["engine"]["status"] == "warn"
    assert "not made yet" in seen["database"]["seen"]
    assert contents(home) == {}
    assert all(one["do"] for one in seen.values() if one["status"] != "ok")


def test_a_database_is_read_and_not_changed(home: Path) -> None:
    lay_schema(home)
    before = contents(home)
    assert ", 0 keys" in found(home)["database"]["seen"]
    assert contents(home) == before
    assert keys(["create", "ops", "--scope", "admin"]) == 0
    with closing(sqlite3.connect(home / "rlt.db")) as connection, connection:
        # As while a server runs: what was written last lies beside the database.
        connection.execute("UPDATE keys SET name = 'ann'")
        connection.commit()
        before = {*contents(home)}
        seen = found(home)["database"]
        assert {*contents(home)} == before
    assert (seen["status"], seen["seen"].endswith(", 1 keys")) == ("ok", True)


def test_a_database_of_a_newer_version_is_a_fault_and_an_older_one_a_warning(home: Path) -> None:
    lay_schema(home)
    for schema, status, do in (("9999", "fail", "install that version"), ("0001", "warn", "rlt backup")):
        with closing(sqlite3.connect(home / "rlt.db")) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (schema,))
        seen = found(home)["database"]
        assert seen["status"] == status, seen
        assert do in seen["do"]


def test_a_newer_database_that_this_version_may_use_is_a_warning(home: Path) -> None:
    lay_schema(home)
    with closing(sqlite3.connect(home / "rlt.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9998'")
        connection.execute(f"PRAGMA user_version = 9998{newest_schema()}")
    seen = found(home)["database"]
    assert (seen["status"], seen["do"]) == ("warn", "install that version here too")


def test_a_file_that_is_no_database_is_a_finding_and_the_others_go_on(home: Path) -> None:
    (home / "rlt.db").write_bytes(b"not a database at all, though it is long enough to look at" * 20)
    seen = found(home)
    assert seen["database"]["status"] == "fail"
    assert "not a database" in seen["database"]["seen"]
    assert "disk" in seen


def test_others_that_reach_a_server_without_keys_are_a_fault(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLT_HOST", "0.0.0.0")
    assert "rlt keys create" in found(home)["database"]["do"]
    assert found(home)["database"]["status"] == "fail"
    assert keys(["create", "ops", "--scope", "admin"]) == 0
    assert found(home)["database"]["status"] == "ok"


def test_a_port_that_is_taken_and_a_running_server_are_told_apart(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("RLT_PORT", str(taken.getsockname()[1]))
        assert found(home)["port"]["status"] == "fail"
        note = {"pid": os.getpid(), "address": "http://127.0.0.1:9123"}
        (home / "server.json").write_text(json.dumps(note))
        assert found(home)["port"] == Finding(
            name="port", status="ok", seen="the server of this state folder runs at http://127.0.0.1:9123", do=""
        )


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("RLT_PORT", "many", "settings"),
        ("RLT_BASE_MODEL", "/nowhere", "base model"),
        ("RLT_KV_CACHE_GIB", "1000", "memory"),
        ("RLT_SERVICE_URL", "teacher=http://t,student=http://s", "settings"),
    ],
)
def test_a_wrong_setting_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str
) -> None:
    if check != "settings":
        monkeypatch.setenv("RLT_ENGINE", "vllm")
    monkeypatch.setenv(name, value)
    seen = found(home)[check]
    assert seen["status"] == "fail"
    assert name in seen["do"]


@pytest.mark.parametrize(
    ("queues", "heard", "do"),
    [
        ("{}", '["train"]', ""),
        ('{"rl": "gpu"}', '["train", "gpu"]', ""),
        ('{"rl": "gpu"}', '["train"]', "somewhere hear gpu (RLT_WORKER_QUEUES)"),
        ('{"rl": "gpu"}', '["train", "gpus"]', "no kind of job waits in gpus"),
    ],
)
def test_queues_that_nobody_hears_here_are_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, queues: str, heard: str, do: str
) -> None:
    monkeypatch.setenv("RLT_QUEUES", queues)
    monkeypatch.setenv("RLT_WORKER_QUEUES", heard)
    seen = found(home)["queues"]
    assert seen["status"] == ("warn" if do else "ok")
    assert do in seen["do"]


def test_what_machines_share_is_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLT_ARTIFACT_STORE", f"file://{home}/shared")
    seen = found(home)["artifact store"]
    assert (seen["status"], "nothing lies there yet" in seen["seen"]) == ("ok", True)
    assert contents(home) == {}
    (home / "shared").mkdir()
    seen = found(home)["artifact store"]
    assert seen == Finding(name="artifact store", status="ok", seen=f"file://{home}/shared", do="")
    monkeypatch.setenv("RLT_ARTIFACT_STORE", "nowhere://bucket")
    seen = found(home)["artifact store"]
    assert (seen["status"], "RLT_ARTIFACT_STORE is 'nowhere://bucket'" in seen["seen"]) == ("fail", True)


def test_each_of_several_servers_is_looked_at(rlt: Rlt) -> None:
    ended = rlt("--base-url", "http://localhost,student=http://127.0.0.1", "doctor", "--json")
    servers = [one["seen"] for one in ended.json["checks"] if one["name"] == "server"]
    assert [seen.partition(" is ")[0] for seen in servers] == ["http://localhost", "http://127.0.0.1"]


def test_the_command_looks_at_machine_service_and_server(home: Path, rlt: Rlt) -> None:
    ended = rlt("doctor", "--json")
    found = ended.json
    checks = {one["name"]: one for one in found["checks"]}
    assert (ended.code, found["object"], found["ok"]) == (ExitCode.OK, "doctor", True)
    assert {"machine", "python", "rlt", "config", "database", "port", "server", "server: version"} <= {*checks}
    assert checks["config"]["seen"] == "server http://localhost (by --base-url), key: none"
    assert checks["server"]["seen"].startswith("http://localhost is ")
    assert checks["server: engine's kind"]["status"] == "warn"
    assert {one["status"] for one in found["checks"]} <= {"ok", "warn", "fail"}


def test_a_fault_ends_with_1_and_says_what_to_do(home: Path, rlt: Rlt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLT_PORT", "many")
    ended = rlt("doctor")
    assert ended.code == ExitCode.FAILED
    assert "fail  settings: RLT_PORT is 'many'" in ended.out
    assert "      correct RLT_PORT" in ended.out
    assert "ok    server: http://localhost is " in ended.out or "warn  server: http://localhost is " in ended.out
