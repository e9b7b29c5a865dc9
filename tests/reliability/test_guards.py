"""Guards stand where the table says, their tests are there, and the committed record is of this table."""

import ast
import json
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks.reliability.guard import SECTIONS, Guard
from benchmarks.reliability.guards import rows_of
from benchmarks.reliability.guards_page import RECORD, read_rows, table_of, with_guards
from benchmarks.reliability.guards_table import BY_NAME, GUARDS
from benchmarks.reliability.mutants import ROOT, Outcome, outcomes_of, taken_out, words_of
from benchmarks.reliability.page import RESULTS


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_once_in_its_file_and_without_it_the_file_is_still_python(guard: Guard) -> None:
    text = (ROOT / guard.file).read_text(encoding="utf-8")
    mutant = taken_out(guard, text)
    assert ast.dump(ast.parse(mutant)) != ast.dump(ast.parse(text))


def test_a_guard_that_does_not_stand_there_once_is_an_error() -> None:
    with pytest.raises(ValueError, match="holds 0 times"):
        taken_out(GUARDS[0], "")
    with pytest.raises(ValueError, match="holds 2 times"):
        taken_out(GUARDS[0], 2 * GUARDS[0].old)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_the_tests_of_a_guard_are_there(guard: Guard) -> None:
    assert guard.tests
    for test in guard.tests:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name.partition("[")[0] in functions


def test_guards_are_of_every_part_and_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(GUARDS) >= 10
    assert {guard.section for guard in GUARDS} == set(SECTIONS)


def test_the_committed_record_proves_each_guard_of_the_table_as_it_is() -> None:
    proved: dict[str, set[str]] = defaultdict(set)
    for row in read_rows():
        assert row.is_proof, f"{row.guard}: {row.test}: {row.how}"
        assert row.mutation == BY_NAME[row.guard].mutation, f"{row.guard} has changed: make guards ONLY={row.guard}"
        proved[row.guard].add(row.test)
    assert proved == {guard.name: set(guard.tests) for guard in GUARDS}


def test_the_table_in_the_docs_follows_from_the_committed_record() -> None:
    page = (RESULTS.parent / "reliability.md").read_text(encoding="utf-8")
    assert table_of(read_rows()) in page
    assert with_guards(page, read_rows()) == page


def test_every_row_says_where_it_comes_from() -> None:
    for line in (RESULTS / RECORD).read_text(encoding="utf-8").splitlines():
        assert {"commit", "date", "machine", "command"} <= json.loads(line).keys()


@pytest.fixture
def guard() -> Guard:
    return Guard(
        name="one", section="serving", promise="it holds", file="a.py", old="x", new="y", tests={"t.py::test": "assert"}
    )


@pytest.mark.parametrize(
    ("before", "after", "passes", "fails"),
    [
        (Outcome(ending="passed"), Outcome(ending="failed", how="assert 1 == 2"), True, True),
        (Outcome(ending="passed"), Outcome(ending="hung", how="Failed: Timeout (>90.0s)"), True, True),
        (Outcome(ending="passed"), Outcome(ending="passed"), True, False),
        (Outcome(ending="passed"), Outcome(ending="failed", how="NameError: x"), True, False),
        (Outcome(ending="passed"), Outcome(ending="error", how="assert"), True, False),
        (Outcome(ending="passed"), Outcome(ending="missing"), True, False),
        (Outcome(ending="passed"), Outcome(ending="skipped", how="assert"), True, False),
        (Outcome(ending="failed", how="assert"), Outcome(ending="failed", how="assert"), False, True),
    ],
)
def test_only_a_test_that_passes_with_the_guard_and_fails_for_its_reason_without_is_a_proof(
    guard: Guard, before: Outcome, after: Outcome, passes: bool, fails: bool
) -> None:
    [row] = rows_of(guard, before={"t.py::test": before}, after={"t.py::test": after})
    assert (row.passes_with_guard, row.fails_without, row.is_proof) == (passes, fails, passes and fails)


def test_a_report_is_read_by_test_with_the_words_of_its_failure() -> None:
    report = """<testsuites><testsuite>
    <testcase classname="tests.a" name="test_b[c d]" time="0.125">
    <failure message="AssertionError: at /tmp/x/y z&#10;more"/></testcase>
    <testcase classname="tests.a" name="test_c" time="0"><error message="failed on setup"/></testcase>
    <testcase classname="tests.a" name="test_d" time="9"><failure message="Failed: Timeout (&gt;90.0s)"/></testcase>
    <testcase classname="tests.a" name="test_e" time="1"/>
    </testsuite></testsuites>"""
    assert outcomes_of(report) == {
        ("tests.a", "test_b[c d]"): Outcome(ending="failed", how="AssertionError: at …/y z", seconds=0.12),
        ("tests.a", "test_c"): Outcome(ending="error", how="failed on setup"),
        ("tests.a", "test_d"): Outcome(ending="hung", how="Failed: Timeout (>90.0s)", seconds=9.0),
        ("tests.a", "test_e"): Outcome(ending="passed", seconds=1.0),
    }


def test_words_of_a_failure_name_no_place_of_this_machine_and_nothing_that_is_new_each_time(tmp_path: Path) -> None:
    assert words_of(f"FileNotFoundError: '{tmp_path}/deep/file'") == "FileNotFoundError: '…/file'"
    assert words_of("assert 'job_0123456789abcdef0123' == 1") == "assert 'job_…' == 1"
