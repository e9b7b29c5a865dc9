"""Which process runs requests on which version, on both databases."""

from rlt_service.store.database import Database
from rlt_service.store.version_uses import VersionUses


def test_a_use_beats_while_it_is_told_and_is_gone_when_it_is_not(database: Database) -> None:
    uses = VersionUses(database)
    uses.report("a", ["algebra@1", "algebra@2"])
    uses.report("b", ["algebra@1"])
    assert uses.beats("algebra@1", besides="b") == {"a": 0}
    uses.report("a", ["algebra@1"])
    assert uses.beats("algebra@1", besides="c") == {"a": 1, "b": 0}
    assert uses.beats("algebra@2", besides="c") == {}
    uses.report("a", ())
    assert uses.beats("algebra@1", besides="c") == {"b": 0}


def test_what_has_ended_is_forgotten(database: Database) -> None:
    uses = VersionUses(database)
    uses.report("a", ["algebra@1", "algebra@2"])
    uses.report("b", ["algebra@1"])
    uses.forget(["a"])
    assert uses.beats("algebra@1", besides="c") == {"b": 0}
    assert uses.beats("algebra@2", besides="c") == {}
