import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlt_client import _errors
from rlt_core.errors import RltError
from rlt_core.job_errors import REMEDIES, job_code, remedy_of
from rlt_train import errors as trainer_errors

ROOT = Path(__file__).parents[2]
MODULES = [*(ROOT / "services/rlt_service/jobs").glob("*.py"), ROOT / "services/rlt_service/store/jobs.py"]
MODULES += [ROOT / "rlt_train/__main__.py"]


def codes_of(node: ast.AST) -> Iterator[str]:
    """Give every code that stands in a JobError or an ErrorEvent."""
    for call in ast.walk(node):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id in ("JobError", "ErrorEvent")
        ):
            for keyword in call.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)


def kinds(root: type[RltError]) -> Iterator[type[RltError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


KINDS: list[type[RltError]] = sorted(set(kinds(RltError)), key=lambda kind: kind.__name__)


def test_every_code_that_is_written_down_has_a_remedy() -> None:
    written = {code for module in MODULES for code in codes_of(ast.parse(module.read_text()))}
    assert {"worker_lost", "out_of_memory", "invalid", "max_runtime", "trainer_failed", "disk_full"} <= written
    assert written <= REMEDIES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_of_a_call_becomes_a_kind_with_a_remedy(kind: type[RltError]) -> None:
    code = job_code(kind.code, status=kind.status)
    assert code in REMEDIES
    assert remedy_of(code) == REMEDIES[code]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (_errors.APIConnectionError, "engine_unavailable"),
        (_errors.APITimeoutError, "engine_unavailable"),
        (trainer_errors.RolloutFailedError, "engine_unavailable"),
        (trainer_errors.RolloutMismatchError, "rollout_mismatch"),
        (trainer_errors.InvalidTrainingDataError, "invalid"),
        (RltError, "service_failed"),
    ],
)
def test_a_service_that_is_away_is_no_fault_of_the_job(kind: type[RltError], code: str) -> None:
    assert job_code(kind.code, status=kind.status) == code


def test_the_documentation_lists_every_code() -> None:
    errors = (ROOT / "docs/jobs.md").read_text().partition("## Errors")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", errors, re.MULTILINE)) == REMEDIES.keys()
