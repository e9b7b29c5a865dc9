"""What callers cannot bring: templates, patterns, grammars, archives, code."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.control import Control, check_problem, control_app

NOT_TAKEN = ("template", "regex", "pattern", "grammar", "guided", "structured", "json_schema", "logits_processor")
NOT_TAKEN += ("trust_remote_code", "code", "callback", "url", "path", "command", "bad_words", "stop")
EXPLAIN = {"question": "2 + 3?", "solution": "5"}
SCORE = EXPLAIN | {"explanations": ["Add."]}
RL = {"kind": "rl", "dataset": "ds_" + "0" * 20, "target_name": "made"}
WARMUP = {"kind": "warmup", "role": "teacher", "dataset": "ds_" + "0" * 20, "target_name": "made"}
FIELDS = ("chat_template", "guided_regex", "guided_grammar", "structured_outputs", "response_format", "logit_bias")


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home")) as found:
        yield found


def properties(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        fields: dict[str, Any] = schema
        yield from fields.get("properties", {})
        for inner in fields.values():
            yield from properties(inner)
    elif isinstance(schema, list):
        items: list[Any] = schema
        for inner in items:
            yield from properties(inner)


def bodies(described: dict[str, Any]) -> Iterator[str]:
    """Give the names of all fields that any body may have, whatever it refers to included."""
    schemas = described["components"]["schemas"]
    waiting = [one.get("requestBody", {}) for methods in described["paths"].values() for one in methods.values()]
    seen: set[str] = set()
    while waiting:
        schema = waiting.pop()
        yield from properties(schema)
        referred = {found.rpartition("/")[2] for found in references(schema)} - seen
        seen |= referred
        waiting += [schemas[name] for name in referred]


def references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        fields: dict[str, Any] = schema
        if isinstance(fields.get("$ref"), str):
            yield fields["$ref"]
        for inner in fields.values():
            yield from references(inner)
    elif isinstance(schema, list):
        items: list[Any] = schema
        for inner in items:
            yield from references(inner)


def test_no_body_has_a_field_for_a_template_a_pattern_a_grammar_or_a_path(control: Control) -> None:
    named = set(bodies(control.http.get("/openapi.json").json()))
    assert {"question", "solution", "target_name", "rank", "folder"} <= named
    # What ends a chat is looked for as it stands, letter by letter.
    assert [name for name in named - {"stop"} if any(word in name for word in NOT_TAKEN)] == []


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    ("path", "body"), [("/v1/explain", EXPLAIN), ("/v1/score", SCORE), ("/v1/train", RL), ("/v1/train", WARMUP)]
)
def test_a_template_a_pattern_or_a_grammar_is_an_unknown_field(
    control: Control, path: str, body: dict[str, Any], field: str
) -> None:
    answer = control.http.post(path, json=body | {field: "x"})
    check_problem(answer, 422, "unknown_field", f"/{field}")


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("rows.jsonl", '{"question": "1?", "solution": "1"}\n')
    return made.getvalue()


def tarred() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo("../rows.jsonl")
        archive.addfile(info, io.BytesIO())
    return made.getvalue()


ARCHIVES = {"application/zip": zipped(), "application/x-tar": tarred(), "application/gzip": gzip.compress(b"{}")}


@pytest.mark.parametrize("media_type", ARCHIVES)
def test_an_archive_is_no_dataset_under_its_own_name_or_another(control: Control, media_type: str) -> None:
    content = ARCHIVES[media_type]
    refused = control.http.post("/v1/datasets", content=content, headers={"Content-Type": media_type})
    check_problem(refused, 415, "unsupported_media_type")
    masked = control.http.post("/v1/datasets", content=content, headers={"Content-Type": "application/jsonl"})
    check_problem(masked, 422, "invalid_dataset")
    in_form = control.http.post("/v1/datasets", files={"file": ("rows.zip", content, media_type)})
    check_problem(in_form, 422, "invalid_dataset")
    assert control.http.get("/v1/datasets").json()["data"] == []
