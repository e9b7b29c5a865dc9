"""The script that anyone would write first: threads, two calls a question, nothing kept. `python -m` it with a file.

It asks what a collect asks: the same seeds, the same samples, scores with the student's sequences and a baseline.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx


def main() -> None:
    """Read what to do from the file that is named; print seconds, questions and tokens as JSON."""
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    at_once: int = task["at_once"]
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    headers = {"RLT-Flow": "plain"}
    with httpx.Client(base_url=task["address"], timeout=600.0, limits=limits, headers=headers) as client:
        began_s = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            tokens = sum(pool.map(lambda asked: _one(client, asked), task["questions"]))
        seconds = time.monotonic() - began_s
    sys.stdout.write(json.dumps({"seconds": seconds, "questions": len(task["questions"]), "tokens": tokens}) + "\n")


def _one(client: httpx.Client, asked: dict[str, Any]) -> int:
    explained = client.post("/v1/explain", json=asked).raise_for_status().json()
    entries = [{name: made[name] for name in ("text", "tokens", "well_formed")} for made in explained["explanations"]]
    question = {name: asked[name] for name in ("question", "solution")}
    body = question | {"explanations": entries, "baseline": True, "include": ["sequence"]}
    client.post("/v1/score", json=body).raise_for_status().json()
    return explained["usage"]["completion_tokens"]


if __name__ == "__main__":
    main()
