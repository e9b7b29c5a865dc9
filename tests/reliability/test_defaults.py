"""What the designs name as numbers, and what a server has that nobody configured."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import text

from rlt_core.schemas.explain import ExplainBatchRequest, ExplainRequest
from rlt_core.schemas.jobs import RlSpec
from rlt_core.schemas.score import ScoreBatchRequest
from rlt_core.schemas.trainer import EXIT_DISK_FULL, TrainerJob
from rlt_service import calls, health, idempotency, part_checks, request_ids
from rlt_service.access.secrets import make_secret
from rlt_service.jobs.celery_app import make_celery
from rlt_service.settings import Settings
from rlt_service.store.database import Database
from rlt_train.patience import Patience

KIB, MIB, GIB = 2**10, 2**20, 2**30
SETTINGS: dict[str, Any] = {
    # Jobs
    "heartbeat_s": 5,
    "lease_s": 30,
    "reconcile_s": 10,
    "cancel_grace_s": 20,
    "max_crashes": 3,
    # Bodies
    "max_small_body_bytes": MIB,
    "max_body_bytes": 64 * MIB,
    "max_dataset_bytes": GIB,
    "max_open_multipart_bytes": 64 * MIB,
    "max_json_depth": 32,
    # Serving
    "host": "127.0.0.1",
    "drain_grace_s": 30,
    "max_body_s": 120,
    "max_connections": 8192,
}


@pytest.mark.parametrize(("name", "value"), SETTINGS.items())
def test_a_setting_has_the_default_that_is_written_down(name: str, value: object) -> None:
    assert Settings.model_fields[name].get_default() == value


def most(model: type[BaseModel], field: str) -> int:
    """Give the bound of a number, or of a list's length."""
    found = model.model_json_schema()["properties"][field]
    return found.get("maximum", found.get("maxItems"))


FOUND: dict[str, tuple[object, object]] = {
    "answers a call, n": (most(ExplainRequest, "n"), 64),
    "items of a batch of explanations": (most(ExplainBatchRequest, "items"), 256),
    "items of a batch of scores": (most(ScoreBatchRequest, "items"), 256),
    "answers a question of a step": (most(RlSpec, "samples_per_question"), 64),
    "a lease as a trainer is told it": (TrainerJob.model_fields["lease_s"].default, 30),
    "a service that is away is waited for": (Patience.__dataclass_fields__["away_s"].default, 30 * 60),
    "a trainer's exit code for a full disk": (EXIT_DISK_FULL, 74),
    "events of a stream made ahead of its reader": (calls.UNREAD, 256),
    "a reader that takes nothing is waited for": (calls.UNREAD_S, 60),
    "/readyz waits for a part, and answers within 2 s": (part_checks.PART_S, 1.5),
    "/readyz waits for an engine": (health.ENGINE_S, 1.5),
    "an answer that is kept for a key": (idempotency.MAX_KEPT_BYTES, 4 * MIB),
    "a key of a call": (idempotency.KEY_PATTERN, r"^[\x21-\x7e]{1,255}$"),
    "a request's id": (request_ids._TAKEN_OVER.pattern, "[A-Za-z0-9._-]{1,128}"),
    "characters of a key's secret": (len(make_secret("0" * 12).text.removeprefix(f"rlt_{12 * '0'}_")), 43),
    "a message that nobody acknowledged comes again": (
        make_celery(Settings(home=Path("/nowhere"))).conf["broker_transport_options"]["visibility_timeout"],
        30 * 24 * 3600,
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_a_limit_is_the_one_that_is_written_down(what: str) -> None:
    found, designed = FOUND[what]
    assert found == designed


def test_sqlite_loses_nothing_that_was_committed_and_keeps_references(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'rlt.db'}")
    database.start()
    names = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
    with database.reading() as session:
        found = {name: session.execute(text(f"PRAGMA {name}")).scalar_one() for name in names}
    database.close()
    full = 2
    assert found == {"journal_mode": "wal", "synchronous": full, "busy_timeout": 30_000, "foreign_keys": 1}
