"""What a server logs: calls and faults, never what was asked, answered or sent as a key."""

import json
from pathlib import Path

import httpx
import pytest

from rlt_service.access.command import run
from tests.support.server import running_service

pytestmark = pytest.mark.processes

CANARY = "kanarienvogel"
TEXT = {"question": f"How does the {CANARY} sing?", "solution": f"The {CANARY} sings."}


def calls_with_canaries(http: httpx.Client, *, headers: dict[str, str]) -> list[int]:
    """Send the canary in every place that a prompt may stand, answered and refused; give the statuses."""
    jsonl = {"Content-Type": "application/jsonl"}
    rows = json.dumps(TEXT | {"id": CANARY, "more": CANARY}) + "\n"
    columns = json.dumps({"solution": f"{CANARY} {{solution}}"})
    sent = [
        ("/v1/explain", {"json": TEXT | {"include": ["score", "tokens"]}}),
        ("/v1/explain", {"json": TEXT | {"stream": True}}),
        ("/v1/explain/batch", {"json": {"items": [TEXT, TEXT | {CANARY: 1}, {"question": CANARY}]}}),
        ("/v1/score", {"json": TEXT | {"explanations": [CANARY], "teacher": "default", "baseline": True}}),
        ("/v1/explain", {"json": TEXT | {"question": CANARY * 500}}),
        ("/v1/explain", {"json": TEXT | {"teacher": CANARY}}),
        ("/v1/explain", {"json": TEXT | {CANARY: CANARY}}),
        ("/v1/explain", {"content": f'{{"question": "{CANARY}', "headers": {"Content-Type": "application/json"}}),
        ("/v1/explain", {"content": CANARY, "headers": {"Content-Type": f"text/{CANARY}"}}),
        ("/v1/datasets", {"content": rows, "headers": jsonl}),
        ("/v1/datasets", {"content": rows, "headers": jsonl, "params": {"columns": columns, "name": CANARY}}),
        ("/v1/datasets", {"content": rows + f"{CANARY}\n", "headers": jsonl}),
        ("/v1/train", {"json": {"kind": CANARY, "dataset": CANARY}}),
    ]
    return [
        http.post(path, **fields | {"headers": headers | fields.get("headers", {})}).status_code
        for path, fields in sent
    ]


def test_a_servers_log_holds_no_prompts_and_no_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, log = tmp_path / "home", tmp_path / "server.log"
    assert run(["create", "ann", "--home", str(home), "--scope", "admin"]) == 0
    secret = capsys.readouterr().out.strip()
    key = {"Authorization": f"Bearer {secret}"}
    with running_service(home, output=log) as address, httpx.Client(base_url=address, timeout=30.0) as http:
        statuses = calls_with_canaries(http, headers=key)
        refused = [http.get("/v1/jobs", headers={"Authorization": f"{sort} {CANARY}"}) for sort in ("Bearer", "Basic")]
        forged = http.get("/v1/jobs", headers={"Authorization": f"Bearer {secret[:-1]}_"})
    assert [answer.status_code for answer in (*refused, forged)] == [401, 401, 401]
    assert {200, 201, 400, 404, 415, 422} <= set(statuses)
    told = log.read_text()
    assert "POST /v1/explain" in told
    assert "POST /v1/datasets" in told
    assert CANARY not in told
    assert secret[17:-1] not in told
    assert secret[17:-1].encode() not in b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_with_a_key_a_server_listens_everywhere_and_asks_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["create", "ann", "--home", str(tmp_path), "--scope", "train"]) == 0
    key = {"Authorization": f"Bearer {capsys.readouterr().out.strip()}"}
    with running_service(tmp_path, host="0.0.0.0") as address:
        assert httpx.get(f"{address}/v1/jobs").status_code == 401
        assert httpx.get(f"{address}/v1/jobs", headers=key).status_code == 200
        assert httpx.get(f"{address}/v1/jobs", headers=key | {"Host": "rlt.example.org"}).status_code == 200
