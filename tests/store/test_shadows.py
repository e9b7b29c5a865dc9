from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from rlt_core.artifacts import adapter_sha256
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.registry import Candidate, Registry
from rlt_service.store.shadows import Outcome, ShadowPair, ShadowStore
from tests.support.control import evaluation_row, write_adapter


@pytest.fixture
def candidate(registry: Registry, artifacts: ArtifactStore) -> str:
    folder = write_adapter(artifacts.root / "imports" / "algebra")
    made = registry.register(
        Candidate(
            name="algebra",
            role="teacher",
            base_model="tiny-model",
            format="stratos@1",
            folder=folder,
            sha256=adapter_sha256(folder),
            lora_rank=4,
        )
    )
    return made.version


@pytest.fixture
def shadows(database: Database) -> ShadowStore:
    return ShadowStore(database, max_pairs=10)


def begin(shadows: ShadowStore, candidate: str, *, share: float = 0.5) -> Any:
    return shadows.put("default", candidate, share=share, max_in_flight=2, student="default")


def answered(candidate: str, *, number: int = 1) -> Outcome:
    rows = [evaluation_row(version=version, number=number, reward=-1.0) for version in ("tiny@0", candidate)]
    pair = ShadowPair(before=rows[0], after=rows[1], student="tiny@0")
    return Outcome(alias="default", version=candidate, fate="answered", pair=pair)


@contextmanager
def counted_queries() -> Iterator[list[str]]:
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("SELECT"):
            said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_an_alias_and_its_shadow_are_read_in_one_query(
    registry: Registry, shadows: ShadowStore, candidate: str
) -> None:
    with counted_queries() as without:
        assert registry.resolve("teacher", "default").shadow is None
    begin(shadows, candidate)
    with counted_queries() as beside:
        plan = registry.resolve("teacher", "default").shadow
    assert plan is not None
    assert (plan.alias, plan.version, plan.share, plan.max_in_flight) == ("default", candidate, 0.5, 2)
    assert len(without) == len(beside) == 2  # alias and shadow, then the version
    assert registry.resolve("teacher", "tiny@0").shadow is None
    assert registry.resolve("student", "default").shadow is None


def test_what_comes_after_the_end_of_a_shadow_is_dropped(shadows: ShadowStore, candidate: str) -> None:
    begin(shadows, candidate)
    shadows.record([answered(candidate), Outcome(alias="default", version=candidate, fate="failed")])
    shadows.end("default")
    shadows.record([answered(candidate)])
    fresh = begin(shadows, candidate)
    assert (fresh.counts.sampled, fresh.pairs) == (0, 0)
    shadows.record([answered("algebra@7"), answered(candidate)])
    found = shadows.get("default")
    assert (found.counts.sampled, found.counts.answered, found.pairs) == (1, 1, 1)


def test_outcomes_of_many_writers_add_up(database: Database, shadows: ShadowStore, candidate: str) -> None:
    begin(shadows, candidate)
    for store in (shadows, ShadowStore(database, max_pairs=10)):
        store.record([answered(candidate, number=number) for number in range(3)])
    assert shadows.get("default").counts.answered == 6
    collected = shadows.collected("default")
    assert (collected.before, collected.after, collected.student) == ("tiny@0", candidate, "tiny@0")
    assert [row.version for row in collected.rows] == ["tiny@0"] * 6 + [candidate] * 6


def test_a_shadow_that_comes_to_serve_is_one_no_longer(
    registry: Registry, shadows: ShadowStore, candidate: str
) -> None:
    begin(shadows, candidate)
    registry.move_alias("teacher", "default", candidate, expected="tiny@0", reason="better")
    assert registry.resolve("teacher", "default").shadow is None
