"""Both databases refuse the same values, with the same words."""

from typing import Any

import pytest
from pydantic import BaseModel

from rlt_core.errors import InvalidRequestError, ModelNotFoundError, NotFoundError
from rlt_core.schemas.jobs import QUEUE, WarmupSpec
from rlt_core.schemas.shadows import ShadowPut
from rlt_core.schemas.teachers import AliasPut, AliasRollback
from rlt_service.store import tables
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore
from rlt_service.store.keys import KeyStore
from rlt_service.store.registry import Registry

ODD = ["a\x00b", "a\ud83db"]


@pytest.mark.parametrize("odd", ODD)
def test_a_text_that_cannot_be_stored_is_refused(
    jobs: JobStore, registry: Registry, warmup: WarmupSpec, odd: str
) -> None:
    character = rf"U\+{ord(odd[1]):04X}"
    with pytest.raises(InvalidRequestError, match=character):
        jobs.submit(warmup.model_copy(update={"name": odd}))
    with pytest.raises(InvalidRequestError, match=character):
        registry.move_alias("teacher", "default", "tiny@0", expected="tiny@0", reason=odd)
    assert jobs.counts() == {}


@pytest.mark.parametrize("odd", ODD)
def test_what_cannot_have_been_stored_is_not_there(jobs: JobStore, registry: Registry, odd: str) -> None:
    with pytest.raises(NotFoundError):
        jobs.get(odd)
    with pytest.raises(ModelNotFoundError):
        registry.resolve("teacher", odd)
    with pytest.raises(InvalidRequestError, match="names no job"):
        jobs.list(after=odd)


def test_what_a_trainer_says_may_hold_anything(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    jobs.claim(queue=QUEUE, worker="w1")
    jobs.append_event(job.id, 1, "log", {"message": "a\x00b\ud83dé"})
    assert jobs.events(job.id)[-1].data == {"message": "a\x00b\ud83dé"}


LONG = "x" * 201
"""One more than any of these columns holds."""


def test_a_text_that_is_longer_than_its_column_is_refused(
    database: Database, jobs: JobStore, registry: Registry, warmup: WarmupSpec
) -> None:
    with pytest.raises(InvalidRequestError, match="has 201 characters, and 200 are kept"):
        jobs.submit(warmup.model_copy(update={"name": LONG}))
    with pytest.raises(InvalidRequestError, match="200 are kept"):
        KeyStore(database).create("0" * 12, name=LONG, sha256="0" * 64, scopes=["train"])
    with pytest.raises(InvalidRequestError, match="100 are kept"):
        registry.move_alias("teacher", "default", "tiny@0", expected="tiny@0", reason="long", by=LONG)
    with pytest.raises(InvalidRequestError, match="300 are kept"):
        registry.ensure_base(name="other", base_model=2 * LONG, format="stratos@1")
    assert (jobs.counts(), registry.get_alias("teacher", "default").version) == ({}, "tiny@0")
    assert jobs.submit(warmup.model_copy(update={"name": "é" * 200})).name == "é" * 200


def test_what_is_looked_for_by_a_text_longer_than_its_column_is_not_there(jobs: JobStore) -> None:
    with pytest.raises(NotFoundError):
        jobs.get(LONG)
    with pytest.raises(InvalidRequestError, match="names no job"):
        jobs.list(after=LONG)


def test_a_number_that_is_larger_than_its_column_is_refused(jobs: JobStore, warmup: WarmupSpec) -> None:
    with pytest.raises(InvalidRequestError, match="32 bits"):
        jobs.submit(warmup.model_copy(update={"priority": 2**31}))
    assert jobs.counts() == {}


def longest(model: type[BaseModel], field: str) -> int:
    """Give the longest text that a body may hold there."""
    found: dict[str, Any] = model.model_json_schema()["properties"][field]
    return max(part.get("maxLength", 0) for part in (found, *found.get("anyOf", ())))


@pytest.mark.parametrize(
    ("column", "most"),
    [
        (tables.JobRow.name, longest(WarmupSpec, "name")),
        (tables.AliasChangeRow.by, longest(AliasPut, "by")),
        (tables.AliasChangeRow.by, longest(AliasRollback, "by")),
        (tables.ShadowRow.student, longest(ShadowPut, "student")),
        (tables.VersionRow.name, len("a" + 62 * "-")),  # NAME_PATTERN
        (tables.AliasRow.alias, len("a" + 62 * "-")),
        (tables.VersionRow.parent, len("a" + 62 * "-" + "@" + 9 * "9")),  # VERSION_PATTERN
        (tables.ShadowRow.version, len("a" + 62 * "-" + "@" + 9 * "9")),
        (tables.IdempotentCallRow.key, 255),  # KEY_PATTERN
        (tables.RolloutRow.sha256, 64),
    ],
    ids=str,
)
def test_no_body_that_is_taken_holds_a_longer_text_than_its_column(column: Any, most: int) -> None:
    assert 0 < most <= column.type.length


def test_a_number_that_no_column_holds_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidRequestError, match="64 bits"):
        registry.alias_history("teacher", "default", after="9" * 30)
