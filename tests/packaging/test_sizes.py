"""Caps that keep the code readable: modules of 400 lines, functions of 60, every function typed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("rlt_core", "rlt_tokens", "rlt_train", "clients/rlt_client", "services/rlt_service")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def untyped(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    given = function.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    arguments += [entry for entry in (given.vararg, given.kwarg) if entry is not None]
    missing = [entry.arg for entry in arguments if entry.annotation is None and entry.arg not in ("self", "cls")]
    return missing + ([] if function.returns is not None else ["return"])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_keeps_to_the_caps_and_types_every_function(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    for function in functions(ast.parse(text)):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        assert lines <= MAX_FUNCTION_LINES, f"{function.name} has {lines} lines"
        assert not untyped(function), f"{function.name} leaves untyped: {untyped(function)}"


@pytest.mark.parametrize(
    ("signature", "missing"),
    [
        ("def f(a, /, b, *, c): ...", ["a", "b", "c", "return"]),
        ("def f(*args, **kwargs) -> None: ...", ["args", "kwargs"]),
        ("async def f(*args: int, **kwargs: int) -> None: ...", []),
        ("def f(self, a: int) -> None: ...", []),
    ],
)
def test_every_part_of_a_signature_counts(signature: str, missing: list[str]) -> None:
    (function,) = functions(ast.parse(signature))
    assert untyped(function) == missing
