"""Every operation of the OpenAPI file answers as the file says, whatever is sent: drawn by schemathesis, with seeds.

A finding names the call as a command; `make fuzz` does the same at full size.
"""

from pathlib import Path

import pytest

from tests.fuzz.contract import MakeKey
from tests.fuzz.rounds import calls_of, fuzz_in_rounds, sparse
from tests.support.keys import admin_key
from tests.support.service import make_app

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(400)]

EXAMPLES, KEYED_EXAMPLES = 50, 20
"""Calls of each operation that takes any input; bounds of its values and other methods come in addition."""


@pytest.mark.parametrize(
    ("keyed", "examples"), [(None, EXAMPLES), (admin_key, KEYED_EXAMPLES)], ids=["without keys", "with a key"]
)
def test_every_operation_answers_as_the_contract_says(tmp_path: Path, keyed: MakeKey | None, examples: int) -> None:
    records = fuzz_in_rounds(tmp_path, seed=1, examples=examples, keyed=keyed)
    told = [f"{label}: {title}: {words}" for label, one in records.items() for title, words in one.failures.items()]
    assert not told, "\n\n".join(told)
    described = make_app(tmp_path / "described").openapi()["paths"]
    assert records.keys() == {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert not sparse(records, examples=examples)
    assert calls_of(records) > examples * len(records)
    # Calls by links: from a submission to its job, from an upload to its rows.
    assert sum(record.linked > 0 for record in records.values()) >= 5
    made = ("POST /v1/train", "POST /v1/datasets", "POST /v1/score", "POST /v1/explain")
    answered = {label: dict(records[label].statuses) for label in made}
    assert all(min(statuses) < 300 for statuses in answered.values()), answered
