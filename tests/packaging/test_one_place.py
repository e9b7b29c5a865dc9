"""What happens in one place alone: events of a job are added there, its status changes there, every write is fenced."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping

import pytest

from rlt_service.store.jobs import JobStore
from tests.packaging.test_sizes import ROOT

SERVICE = ROOT / "services" / "rlt_service"
# Migrations are left out: they know the rows of other releases.
TREES: Mapping[str, ast.Module] = {
    path.relative_to(SERVICE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(SERVICE.rglob("*.py"))
    if "migrations" not in path.parts
}
FENCE_TEST = "test_every_write_of_an_attempt_that_lost_its_lease_is_refused"
SQL_WRITE = re.compile(r"\b(update|delete\s+from|(insert|replace)\s+(or\s+\w+\s+)?into)\s+\W?(jobs|job_events)\b", re.I)

Place = tuple[str, str]
"""A module, and the innermost function in it."""


def inside(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Give each node below with the name of the innermost function that holds it."""
    for child in ast.iter_child_nodes(tree):
        here = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield here, child
        yield from inside(child, here)


def places(found: Callable[[ast.AST], bool], trees: Mapping[str, ast.Module] = TREES) -> set[Place]:
    return {(path, function) for path, tree in trees.items() for function, node in inside(tree) if found(node)}


def called(node: ast.AST) -> str:
    """Give the last word of what a call calls, nothing for another node."""
    return last_word(node.func) if isinstance(node, ast.Call) else ""


def last_word(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def names(node: ast.AST, name: str) -> bool:
    return any(last_word(part) == name for part in ast.walk(node))


def names_events(node: ast.AST) -> bool:
    return last_word(node) == "JobEventRow"


def makes_event(node: ast.AST) -> bool:
    return called(node) == "JobEventRow" or (called(node) in ("insert", "merge") and names(node, "JobEventRow"))


def changes_event(node: ast.AST) -> bool:
    return called(node) in ("update", "delete", "values", "setattr") and names(node, "JobEventRow")


def makes_job(node: ast.AST) -> bool:
    return called(node) == "JobRow" or (called(node) in ("insert", "merge") and names(node, "JobRow"))


def sets_status(node: ast.AST) -> bool:
    """Find an assignment to the status of something else than the object itself, and an update of such a column."""
    assigned = [part for target in targets(node) for part in ast.walk(target) if isinstance(part, ast.Attribute)]
    if any(part.attr == "status" and ast.unparse(part) != "self.status" for part in assigned):
        return True
    return called(node) in ("values", "update", "setattr") and any(
        (isinstance(part, ast.keyword) and part.arg == "status")
        or (isinstance(part, ast.Dict) and any(key is not None and is_status(key) for key in part.keys))
        or (called(node) == "setattr" and is_status(part))
        for part in ast.walk(node)
    )


def targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []


def is_status(node: ast.AST) -> bool:
    return last_word(node) == "status" or (isinstance(node, ast.Constant) and node.value == "status")


def writes_by_hand(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_WRITE.search(node.value) is not None


def test_events_of_a_job_are_added_in_one_place_and_changed_in_none() -> None:
    assert places(makes_event) == {("store/history.py", "append")}
    assert places(changes_event) == set()
    # Whoever does not name the table holds no row of it; the one other reader asks for a column.
    assert {path for path, _ in places(names_events)} == {"store/history.py", "store/retention.py"}
    assert places(lambda node: called(node) in ("update", "delete"), {"": TREES["store/history.py"]}) == set()


def test_the_status_of_a_job_is_set_where_it_is_made_and_changed_in_one_place() -> None:
    assert places(makes_job) == {("store/new_jobs.py", "new_row")}
    assert places(sets_status) == {("store/job_rows.py", "move_job")}


def test_no_statement_by_hand_writes_to_jobs_or_events() -> None:
    assert places(writes_by_hand) == set()


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (makes_event, "JobEventRow(seq=1)"),
        (makes_event, "session.execute(insert(JobEventRow))"),
        (changes_event, "session.execute(delete(JobEventRow).where(JobEventRow.seq == 1))"),
        (changes_event, "session.execute(update(tables.JobEventRow).values(seq=2))"),
        (changes_event, "session.query(JobEventRow).delete()"),
        (changes_event, "session.delete(session.get(JobEventRow, 1))"),
        (makes_job, "JobRow(status='running')"),
        (sets_status, "row.status = 'running'"),
        (sets_status, "row.error, row.status = None, 'running'"),
        (sets_status, "job.row.status: str = 'running'"),
        (sets_status, "setattr(row, 'status', 'running')"),
        (sets_status, "update(JobRow).values(status='running')"),
        (sets_status, "update(JobRow).values({'status': 'running'})"),
        (sets_status, "query.update({JobRow.status: 'running'})"),
        (writes_by_hand, "text('UPDATE jobs SET priority = 1')"),
        (writes_by_hand, "text('delete from job_events')"),
        (writes_by_hand, "f'INSERT OR REPLACE INTO \"job_events\" VALUES ({seq})'"),
    ],
)
def test_what_is_looked_for_is_seen(found: Callable[[ast.AST], bool], text: str) -> None:
    assert places(found, {"": ast.parse(f"def here() -> None:\n    {text}")}) == {("", "here")}


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (changes_event, "session.scalars(select(JobEventRow))"),
        (sets_status, "self.status = 200"),
        (sets_status, "headers['status'] = row.status"),
        (sets_status, "update(JobRow).where(JobRow.status == 'queued').values(attempt=1)"),
        (writes_by_hand, "text('SELECT status FROM jobs')"),
    ],
)
def test_what_only_reads_is_let_be(found: Callable[[ast.AST], bool], text: str) -> None:
    assert places(found, {"": ast.parse(text)}) == set()


def test_the_test_of_the_fence_tries_every_write_of_an_attempt() -> None:
    fenced = {
        name
        for name, method in inspect.getmembers(JobStore, inspect.isfunction)
        if "attempt" in inspect.signature(method).parameters
    }
    tests = ast.parse((ROOT / "tests" / "store" / "test_jobs.py").read_text(encoding="utf-8"))
    [test] = [node for node in tests.body if isinstance(node, ast.FunctionDef) and node.name == FENCE_TEST]
    tried = {
        called(write.body)
        for decorator in test.decorator_list
        for write in ast.walk(decorator)
        if isinstance(write, ast.Lambda)
    }
    assert fenced == tried
    assert "record" in fenced  # the decorator that tries again hides no signature
