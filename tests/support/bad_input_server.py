"""A server that holds one of each thing that a bad input may name, with small limits, and what it has stored."""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from rlt_service.store.tables import Base
from tests.support.control import ROWS, Control, control_app

LIMITS: dict[str, Any] = {
    "max_model_len": 1024,
    "max_lora_rank": 32,
    "max_body_bytes": 2**16,
    "max_text_characters": 20_000,
    "max_dataset_bytes": 10_000,
    "max_dataset_rows": 20,
    "max_queued_requests": 32,
    "lease_s": 3600.0,  # nobody beats for the running job
}
QUESTION = {"question": "What is 17 + 25?", "solution": "42"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BadInputServer:
    """The server, and the names that rows use."""

    control: Control
    names: dict[str, object]

    def stored(self) -> dict[str, Any]:
        """Give everything in database and artifacts but what changes by itself: bells, beats and kept answers."""
        with self.control.services.database.reading() as session:
            rows = {
                table.name: session.execute(select(table)).all()
                for table in Base.metadata.sorted_tables
                if table.name not in ("outbox", "idempotent_calls")
            }
        root = self.control.services.artifacts.root
        return rows | {"files": sorted(str(path.relative_to(root)) for path in root.rglob("*"))}


@contextlib.contextmanager
def bad_input_server(home: Path) -> Generator[BadInputServer]:
    """Start it."""
    with control_app(home, **LIMITS) as control:
        yield BadInputServer(control=control, names=_names(control))


def _names(control: Control) -> dict[str, object]:
    http = control.http
    first, second = control.version("algebra", seed=1), control.version("algebra", seed=2)
    http.put("/v1/aliases/teacher/main", json={"version": first})
    http.put("/v1/aliases/teacher/main", json={"version": second, "expected": first})
    http.put("/v1/aliases/teacher/once", json={"version": first})
    control.import_folder("good")
    (control.services.artifacts.root / "imports" / "empty").mkdir()
    dataset = control.upload()
    running = control.running_job(dataset=dataset)
    read = control.upload(ROWS[:3])
    ended, waiting = control.job(), control.job(dataset=read, name="waiting")
    control.services.jobs.cancel(ended.id)
    tokens = _tokens(http)
    ids, logprobs, span = tokens["completion_token_ids"], tokens["completion_logprobs"], tokens["explanation"]
    http.post("/v1/score", json=QUESTION | {"explanations": ["4"]}, headers={"Idempotency-Key": "used"})
    names: dict[str, object] = {
        "dataset_read": read,
        "dataset": dataset,
        "untraced": control.upload({name: row[name] for name in ("question", "solution")} for row in ROWS),
        "job_running": running.id,
        "job_ended": ended.id,
        "checkpoint_gone": f"{ended.id}.1.7",
        "job_waiting": waiting.id,
        "foreign": control.version("foreign", base_model="other"),
        "worse": control.evaluation(before=second, after=first, gain=-0.5),
        "unrelated": control.evaluation(before="fake@0", after=second, gain=0.5),
    }
    changed = {
        "as_given": {},
        "control_id": {"completion_token_ids": [1, *ids[1:]]},
        "end_in_the_middle": {"completion_token_ids": [2, *ids[1:]]},
        "beyond": {"completion_token_ids": [10**9, *ids[1:]]},
        "negative": {"completion_token_ids": [-1, *ids[1:]]},
        "huge": {"completion_token_ids": [10**30, *ids[1:]]},
        "half_ids": {"completion_token_ids": [0.5, *ids[1:]]},
        "short_logprobs": {"completion_logprobs": logprobs[1:]},
        "positive_logprob": {"completion_logprobs": [0.5, *logprobs[1:]]},
        "hopeless_logprob": {"completion_logprobs": [-1e300, *logprobs[1:]]},
        "sunk_logprobs": {"completion_logprobs": [-5000.0] * len(logprobs)},
        "short_span": {"explanation": [0, span[1] - 1]},
        "long_span": {"explanation": [0, 10**6]},
        "turned_span": {"explanation": [span[1], 0]},
        "one_sided_span": {"explanation": [0]},
        "straddled": {"straddled": True},
        "cold": {"temperature": 0},
        "nearly_cold": {"temperature": 0.0099},
        "other_temperature": {"temperature": 1.0},
        "strange_tokenizer": {"tokenizer": "sha256:0123"},
        "long_tokenizer": {"tokenizer": "x" * 101},
        "unknown_field": {"logprobs": []},
    }
    return {**names, **{f"tokens_{name}": tokens | change for name, change in changed.items()}}


def _tokens(http: Any) -> dict[str, Any]:
    answer = http.post("/v1/explain", json=QUESTION | {"seed": 1, "include": ["tokens"]})
    return answer.json()["explanations"][0]["tokens"]
