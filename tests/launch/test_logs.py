"""What the processes of `rlt up` log: records of JSON where asked for, and nothing of what callers send."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.jobs.site import stub_environment
from tests.support.server import running_up
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

CANARY = "canarybird"
CELERYS_FAREWELL = "worker: Warm shutdown (MainProcess)"
"""Written past all logging when it is asked to end."""
TEXTS = {"question": f"why {CANARY}?", "solution": f"since {CANARY}"}


def records(path: Path) -> list[dict[str, Any]]:
    lines = [line for line in path.read_text().splitlines() if line and line != CELERYS_FAREWELL]
    return [json.loads(line) for line in lines]


def call_everything(http: httpx.Client) -> str:
    """Make calls of all kinds, good and bad, with the canary in all that a caller writes; gives the job's id."""
    headers = {"Authorization": f"Bearer rlt_{CANARY}", "Idempotency-Key": CANARY}
    assert http.post("/explain", json=TEXTS, headers=headers).status_code == 200
    score = TEXTS | {"explanations": [CANARY]}
    assert http.post("/v1/score", json=score, params={"x": CANARY}, headers={"X-Request-Id": "mine"}).status_code == 200
    assert http.post("/v1/score", json=score | {"reward": {"kl_mean": CANARY}}).status_code == 422
    assert http.post("/v1/explain", json=TEXTS | {"teacher": CANARY}).status_code == 404
    assert http.post("/v1/explain", content=f"{{{CANARY}").status_code in (400, 415)
    row = json.dumps(TEXTS | {"reasoning_trace": CANARY})
    jsonl = {"Content-Type": "application/jsonl"}
    dataset = http.post("/v1/datasets", params={"name": CANARY}, content=row, headers=jsonl).json()["id"]
    assert http.post("/v1/datasets", content=f"{CANARY}\n", headers=jsonl).status_code == 422
    spec = {"kind": "warmup", "role": "teacher", "dataset": dataset, "target_name": "birds", "name": "ok"}
    assert http.post("/v1/train?dry_run=true", json=spec).status_code == 200
    job = http.post("/v1/train", json=spec).json()["id"]
    wait_until(lambda: http.get(f"/v1/jobs/{job}").json()["status"] == "succeeded", what="the job ends", timeout_s=60.0)
    return str(job)


@pytest.mark.parametrize("form", ["json", "text"])
def test_logs_hold_nothing_of_what_callers_send_and_records_say_whose_they_are(tmp_path: Path, form: str) -> None:
    environment = stub_environment(tmp_path) | {"RLT_LOG_FORMAT": form}
    home = tmp_path / "home"
    with (
        running_up(home, environment=environment) as up,
        httpx.Client(base_url=up.base_url, timeout=60.0, trust_env=False) as http,
    ):
        job = call_everything(http)
    logs = sorted([*home.rglob("*.log"), up.output])
    assert {"server.log", "worker.log", "trainer.log"} <= {path.name for path in logs}
    for path in logs:
        assert CANARY not in path.read_text(errors="replace"), path
    if form == "text":
        return
    server, worker = records(home / "logs" / "server.log"), records(home / "logs" / "worker.log")
    asked = [record for record in server if record.get("request_id") == "mine"]
    assert any("/v1/score" in record["message"] for record in asked)
    supervised = [record for record in worker if record.get("job") == job]
    assert [(record["attempt"], record.get("step")) for record in supervised][-1] == (1, 2)
