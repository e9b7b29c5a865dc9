"""Each line of docs/security.md names tests that there are."""

import ast
import re
from functools import cache
from pathlib import Path

from tests.service.bad_inputs import TABLE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"


def promises() -> list[str]:
    table = PAGE.read_text(encoding="utf-8").partition("## What holds")[2].partition("\n## ")[0]
    return [line for line in table.splitlines() if line.startswith("|")][2:]


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_promise_names_a_test_and_every_test_is_there() -> None:
    assert len(promises()) >= 30
    for line in promises():
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", line)
        assert named, line
        assert [f"{path}::{name}" for path, name in named if name not in names_in(path)] == []


def test_every_row_of_bad_inputs_that_is_named_is_there() -> None:
    rows = {row.name for row in TABLE}
    named = [name for line in promises() for name in re.findall(r" \[([^\]]+)\]", line)]
    assert len(named) >= 5
    assert set(named) <= rows
