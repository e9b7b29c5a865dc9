"""The audit log as it is stored, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from rlt_core.errors import InvalidRequestError
from rlt_service.store.audit import AuditStore
from rlt_service.store.database import Database
from rlt_service.store.project_tables import AuditRow


def noted(audit: AuditStore, action: str, *, key: str | None = "a" * 12, project: str | None = None) -> None:
    audit.note(action, key=key, project=project, subject="s", status=200, request_id="r")


def test_entries_are_listed_newest_first_by_pages_and_by_whom(database: Database) -> None:
    audit = AuditStore(database)
    for number in range(5):
        noted(
            audit, f"POST /{number}", key="a" * 12 if number % 2 else "b" * 12, project="prj_1" if number < 2 else None
        )
    audit.note_command("rlt keys create", subject="c" * 12, project=None)
    first = audit.list(limit=2)
    assert ([entry.action for entry in first.data], first.has_more) == (["rlt keys create", "POST /4"], True)
    assert (first.data[0].key, first.data[0].status, first.data[0].subject) == (None, None, "c" * 12)
    second = audit.list(limit=10, after=first.last_id)
    assert ([entry.action for entry in second.data], second.has_more) == ([f"POST /{n}" for n in (3, 2, 1, 0)], False)
    assert [entry.action for entry in audit.list(key="a" * 12).data] == ["POST /3", "POST /1"]
    assert [entry.action for entry in audit.list(project="prj_1").data] == ["POST /1", "POST /0"]
    with pytest.raises(InvalidRequestError, match="names no entry"):
        audit.list(after="x")


def test_an_entry_goes_once_it_is_older_than_is_kept(database: Database) -> None:
    noted(AuditStore(database), "old")
    short = AuditStore(database, kept_for=timedelta(seconds=-1))
    noted(short, "new")
    assert [entry.action for entry in short.list().data] == ["new"]


def test_the_database_refuses_to_change_an_entry(database: Database) -> None:
    audit = AuditStore(database)
    noted(audit, "POST /1")
    before = audit.list().data
    with pytest.raises(DBAPIError, match="entries of the audit log do not change"), database.transaction() as session:
        session.execute(update(AuditRow).values(key_id="b" * 12))
    assert audit.list().data == before


def test_only_what_is_too_old_goes(database: Database) -> None:
    audit = AuditStore(database, kept_for=timedelta(hours=1))
    noted(audit, "first")
    noted(audit, "second")
    assert [entry.action for entry in audit.list().data] == ["second", "first"]


def test_what_is_too_long_is_cut_and_kept(database: Database) -> None:
    audit = AuditStore(database)
    audit.note("x" * 500, key="a" * 12, project=None, subject="y" * 500, status=201, request_id="z" * 500)
    [entry] = audit.list().data
    assert [len(text or "") for text in (entry.action, entry.subject, entry.request_id)] == [120, 200, 128]
