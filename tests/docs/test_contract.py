"""The contract keeps what the last release promised: what breaks a caller is declared, or this is red."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rlt_core.schemas.jobs import SUBMITTED_SPEC
from tests.support.contract import DECLARED, RELEASED, SPECS, declared, misread, objections, released, specs, written
from tests.support.contract_breaks import breaks_between
from tests.support.service import make_app

Json = dict[str, Any]
ENTRY = '[[break]]\nchange = "GET /a: the operation is gone"\nreason = "r"\ninstead = "i"\nnotice = "n"\n'
THING: Json = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 40},
        "status": {"type": "string", "enum": ["queued", "running"]},
        "size": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
        "kind": {"const": "thing", "type": "string", "default": "thing"},
        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
}


def document(*, body: Json = THING, answer: Json = THING, **operation: Any) -> Json:
    """Describe a contract of one call, which is asked one thing and tells one."""
    asked = {"required": True, "content": {"application/json": {"schema": body}}}
    told = {"201": {"description": "", "content": {"application/json": {"schema": answer}}}}
    post = {"requestBody": asked, "responses": told, "parameters": []} | operation
    return {"paths": {"/things": {"post": post}}, "components": {"schemas": {"Thing": THING}}}


def thing(**fields: Any) -> Json:
    """Give the thing with other fields; None takes one away."""
    properties = {name: field for name, field in {**THING["properties"], **fields}.items() if field is not None}
    return {**THING, "properties": properties}


def asked(body: Json) -> list[str]:
    return list(breaks_between(document(), document(body=body)))


def told(answer: Json) -> list[str]:
    return list(breaks_between(document(), document(answer=answer)))


def test_the_contract_keeps_what_the_last_release_promised(tmp_path: Path) -> None:
    found = breaks_between(released(), make_app(tmp_path).openapi())
    meant = declared(DECLARED.read_text(encoding="utf-8"))
    assert list(objections(found, meant)) == [], "docs/upgrading.md: keep it, or declare it"


def test_specs_that_the_release_before_cannot_read_have_a_number_of_their_own() -> None:
    """Its workers leave a greater SPEC_VERSION to newer ones; a spec with a field they do not know would fail."""
    assert not misread(released()[SPECS], specs()), "raise SPEC_VERSION in rlt_core/schemas/jobs.py (docs/upgrading.md)"


def test_other_specs_under_the_same_number_are_noticed_and_other_words_are_not() -> None:
    now = specs()
    assert not misread(now, now)
    assert misread(now, now | {"sha256": "0" * 64})
    assert not misread(now, {"version": now["version"] + 1, "sha256": "0" * 64})

    def changed(**fields: Any) -> Json:
        schema = SUBMITTED_SPEC.json_schema()
        schema["$defs"]["WarmupSpec"]["properties"]["target_name"] |= fields
        return specs(schema)

    assert changed(description="other words") == now
    assert changed(maxLength=3) != now


def test_the_released_contract_is_written_as_a_release_writes_it() -> None:
    assert RELEASED.read_text(encoding="utf-8") == written(released())


def test_the_same_contract_breaks_nothing_though_components_hold_themselves() -> None:
    assert breaks_between(document(), document()) == []
    assert breaks_between(released(), copy.deepcopy(released())) == []


def test_an_operation_of_the_real_contract_that_goes_is_a_break() -> None:
    fewer = released()
    del fewer["paths"]["/v1/jobs/{job_id}"]["get"]
    assert breaks_between(released(), fewer) == ["GET /v1/jobs/{job_id}: the operation is gone"]
    assert breaks_between(fewer, released()) == []


def test_a_field_and_a_value_of_the_real_contract_that_go_are_breaks() -> None:
    fewer = released()
    job = fewer["components"]["schemas"]["Job"]
    del job["properties"]["runtime_s"]
    job["properties"]["status"] = {"type": "string", "enum": ["queued"]}
    found = breaks_between(released(), fewer)
    assert "Job/runtime_s in answers: the field is gone" in found
    assert "Job/status in answers: the value 'succeeded' is gone" in found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (thing(id=None), "/id in requests: the field is gone"),
        ({**THING, "required": ["id", "status"]}, "/status in requests: the field has to be given now"),
        (thing(status={"type": "string", "enum": ["queued"]}), "/status in requests: the value 'running' is gone"),
        (thing(id={"type": "string", "pattern": "^[a-z]+$", "maxLength": 39}), "maxLength was 40 and is 39"),
        (thing(id={"type": "string", "pattern": "^a$", "maxLength": 40}), "another pattern is taken: '^a$'"),
        (thing(id={"type": "integer"}), "/id in requests: takes no string now"),
        (thing(size={"type": "integer", "minimum": 1, "default": None}), "/size in requests: takes no null now"),
        (thing(size={**THING["properties"]["size"], "default": 2}), "left out, it meant None, and now 2"),
        (thing(counts={"type": "object", "additionalProperties": False}), "fields of other names are not taken now"),
        ({**THING, "additionalProperties": False}, "body in requests: fields of other names are not taken now"),
        (
            thing(size={"anyOf": [{"type": "integer", "exclusiveMinimum": 1}, {"type": "null"}], "default": None}),
            "exclusiveMinimum was None and is 1",
        ),
    ],
)
def test_a_request_that_was_taken_and_is_not_any_more_is_a_break(change: Json, said: str) -> None:
    (found,) = asked(change)
    assert said in found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (thing(id=None), "/id in answers: the field is gone"),
        ({**THING, "required": []}, "/id in answers: the field may be left out now"),
        (thing(status={"type": "string", "enum": ["queued"]}), "/status in answers: the value 'running' is gone"),
        (thing(id={"type": "string", "pattern": "^[a-z]+$"}), "maxLength was 40 and is None"),
        (thing(id={"anyOf": [THING["properties"]["id"], {"type": "null"}]}), "/id in answers: may be null now"),
        (thing(counts={"type": "object", "additionalProperties": {"type": "number"}}), "may be number now"),
        (thing(counts={"type": "object"}), "fields of other names may be anything now"),
        (thing(parts={"type": "array", "items": {"type": "string"}}), "/parts/[] in answers: may be string now"),
    ],
)
def test_an_answer_that_a_caller_could_not_get_before_is_a_break(change: Json, said: str) -> None:
    (found,) = told(change)
    assert said in found


@pytest.mark.parametrize(
    "change",
    [
        thing(more={"type": "string"}),
        thing(status={"type": "string", "enum": ["queued", "running", "done"]}),
        thing(id={**THING["properties"]["id"], "description": "other words", "examples": ["a"]}),
    ],
)
def test_what_is_added_breaks_nothing_in_either_direction(change: Json) -> None:
    assert asked(change) == []
    assert told(change) == []


def test_a_request_may_take_more_and_an_answer_may_hold_less() -> None:
    wider = thing(
        id={"anyOf": [{"type": "string", "maxLength": 80}, {"type": "null"}]},
        size={"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}], "default": None},
    )
    assert asked({**wider, "required": []}) == []
    narrower = thing(
        id={"type": "string", "pattern": "^[a-z]+$", "maxLength": 20}, size={"type": "integer", "minimum": 2}
    )
    assert told({**narrower, "required": ["id", "size"]}) == []


def test_one_more_kind_of_thing_in_an_answer_breaks_nothing_and_one_fewer_in_a_request_does() -> None:
    both = {
        name: {"type": "object", "properties": {"kind": {"type": "string", "const": name}}} for name in ("cat", "dog")
    }
    one, two = (
        {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]} for names in (["cat"], ["cat", "dog"])
    )
    old, new = document(answer=one, body=two), document(answer=two, body=one)
    for each in (old, new):
        each["components"]["schemas"] |= both
    assert breaks_between(old, new) == ["dog/kind in requests: the value 'dog' is gone"]


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ({"parameters": [{"in": "query", "name": "limit", "required": True}]}, "query limit: the parameter has to be"),
        ({"responses": {"200": {"description": ""}}}, "POST /things: the answer 201 is gone"),
        ({"responses": {"201": {"description": ""}}}, "POST /things 201: it is no longer told as application/json"),
        ({"requestBody": {"content": {"text/csv": {}}}}, "a body of application/json is no longer taken"),
        ({"security": [{"key": []}]}, "POST /things: it takes more than no key to be let in now"),
    ],
)
def test_a_call_that_asks_more_or_tells_less_is_a_break(operation: Json, said: str) -> None:
    (found,) = breaks_between(document(), document(**operation))
    assert said in found


def test_parameters_may_come_and_may_not_go() -> None:
    with_limit = document(parameters=[{"in": "query", "name": "limit", "schema": {"type": "integer"}}])
    assert breaks_between(document(), with_limit) == []
    assert breaks_between(with_limit, document()) == ["POST /things query limit: the parameter is gone"]


def test_a_header_that_was_always_told_stays() -> None:
    def headed(headers: Json) -> Json:
        made = document()
        made["paths"]["/things"]["post"]["responses"]["201"]["headers"] = headers
        return made

    always = headed({"Location": {"required": True, "schema": {"type": "string"}}})
    assert breaks_between(always, document()) == ["POST /things 201: the header Location is gone"]
    assert breaks_between(always, headed({"Location": {"schema": {"type": "string"}}})) == [
        "POST /things 201: the header Location may be left out now"
    ]
    assert breaks_between(document(), always) == []


def test_a_break_is_let_through_where_it_is_declared_and_a_declaration_that_nothing_needs_is_not() -> None:
    gone = "GET /a: the operation is gone"
    assert list(objections([gone], [])) == [f"breaks callers: {gone}"]
    assert list(objections([gone], declared(ENTRY))) == []
    (unneeded,) = objections([], declared(ENTRY))
    assert "breaks nothing" in unneeded


@pytest.mark.parametrize("field", ["reason", "instead", "notice"])
def test_a_declaration_says_why_what_instead_and_since_when(field: str) -> None:
    read: Callable[[], object] = partial(declared, "\n".join(line for line in ENTRY.splitlines() if field not in line))
    with pytest.raises(ValidationError, match=field):
        read()
