"""Own the server that an experiment runs on, started on a state that stays, and the note of where rows come from."""

import json
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.experiment.session import Session, write_whole
from benchmarks.servers import BASE_MODEL, Server, free_port
from rlt_client import Client
from rlt_client.demo import provenance
from rlt_service.engine.models import resolve_model


@contextmanager
def served(models: Path, *, work: Path, out: Path, until_s: float, home: Path | None = None) -> Generator[Session]:
    """Start the server on its state (`work`/home, or `home`), and stop it: unfinished jobs go on with the next one.

    `models` is the state folder that has the converted base model.
    """
    for folder in (work, out):
        folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    server = Server(
        [sys.executable, "-m", "rlt_client", "up", "--home", str(home or work / "home"), "--port", str(port)],
        address=f"http://127.0.0.1:{port}",
        ready="/readyz",
        log=work / f"server-{time.strftime('%Y%m%d-%H%M%S')}.log",
        environment={
            "RLT_BASE_MODEL": str(resolve_model(BASE_MODEL, state_folder=models.resolve())),
            "RLT_TRAINER_COMMAND": json.dumps([sys.executable, "-m", "benchmarks.experiment.trainer"]),
        },
    )
    try:
        with Client(base_url=server.address, timeout=1800.0) as client:
            yield Session(client, work=work, out=out, until_s=until_s)
    finally:
        server.stop()


def note_run(path: Path, *, sizes: Mapping[str, Any]) -> None:
    """Write where the rows come from; refuse to mix those of two plans. Every commit that took part is listed."""
    plan: dict[str, Any] = json.loads(json.dumps(sizes))
    facts = {"plan": plan, "commit": provenance.commit(), "date": provenance.date(), "machine": provenance.machine()}
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else facts | {"parts": []}
    if known["plan"] != plan:
        raise SystemExit(f"{path} is of another plan: give other folders, or remove what is there")
    part = {name: facts[name] for name in ("commit", "date", "machine")}
    if part not in known["parts"]:
        known["parts"].append(part)
    write_whole(path, json.dumps(known, indent=1) + "\n")
