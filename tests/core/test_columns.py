"""Column templates: what they read, what they refuse, and that nothing but the row can be reached."""

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.columns import MAX_TEMPLATE_CHARACTERS, NO_COLUMNS, TARGETS, parse_columns, parse_template
from rlt_core.errors import InvalidDatasetError, InvalidRequestError

ROOM = 1000


def apply(columns: dict[str, object], row: dict[str, object]) -> dict[str, object]:
    return parse_columns(json.dumps(columns)).apply(row, max_characters=ROOM)


def test_templates_read_the_row_as_uploaded_and_not_each_others_results() -> None:
    columns: dict[str, object] = {"solution": "The answer is {answer}.", "reasoning_trace": "{solution}"}
    row: dict[str, object] = {"question": "1+1?", "solution": "one and one", "answer": "2"}
    assert apply(columns, row) == {
        "question": "1+1?",
        "solution": "The answer is 2.",
        "reasoning_trace": "one and one",
        "answer": "2",
    }


def test_no_columns_leave_the_row_as_it_is() -> None:
    assert parse_columns(None) is NO_COLUMNS
    assert NO_COLUMNS.apply({"question": 3}, max_characters=0) == {"question": 3}


def test_doubled_braces_stand_for_themselves() -> None:
    template = parse_template("{{{a}}} {{a}} }}{{")
    assert template.render({"a": "x"}, max_characters=ROOM) == "{x} {a} }{"


def test_numbers_and_booleans_become_their_json_text() -> None:
    template = parse_template("{a} {b} {c}")
    assert template.render({"a": 7, "b": 0.5, "c": True}, max_characters=ROOM) == "7 0.5 true"


def test_a_text_with_braces_is_not_read_as_a_template() -> None:
    assert parse_template("{a}").render({"a": "{b} }{"}, max_characters=ROOM) == "{b} }{"


@pytest.mark.parametrize("template", ["{a.__class__}", "{a[0]}", "{a!r}", "{a:>10}", "{0}", "{__class__}"])
def test_nothing_but_a_column_of_that_exact_name_is_reached(template: str) -> None:
    with pytest.raises(InvalidDatasetError, match="there is no column"):
        parse_template(template).render({"a": "x"}, max_characters=ROOM)


def test_an_absent_column_is_refused_naming_those_that_are_there() -> None:
    with pytest.raises(InvalidDatasetError) as caught:
        apply({"solution": "{anser}"}, {"question": "q", "answer": "2"})
    assert caught.value.detail == (
        "solution: there is no column 'anser' (did you mean 'answer'?); this row has answer, question"
    )
    assert caught.value.param == "/columns"


@pytest.mark.parametrize(("value", "kind"), [(None, "null"), ([1], "array"), ({"x": 1}, "object")])
def test_a_column_that_is_no_text_or_number_is_refused(value: object, kind: str) -> None:
    with pytest.raises(InvalidDatasetError, match=f"column 'a' is a JSON {kind}"):
        apply({"solution": "{a}"}, {"a": value})


def test_a_template_cannot_multiply_a_text_beyond_the_limit() -> None:
    with pytest.raises(InvalidDatasetError, match="makes 1001 characters, 1000 are allowed"):
        apply({"solution": "{a}" * 13}, {"a": "x" * 77})


@pytest.mark.parametrize("template", ["{", "a{b", "{a{b}", "{a{b}}", "}", "a}b", "{}", "{ }", "{{}"])
def test_a_broken_template_is_refused(template: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"the template of solution: at character \d+") as caught:
        parse_columns(json.dumps({"solution": template}))
    assert caught.value.param == "/columns"


@pytest.mark.parametrize("text", ["", "{", "nope", "[" * 100_000])
def test_columns_that_are_no_json_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="columns is no JSON"):
        parse_columns(text)


@pytest.mark.parametrize("text", ["[]", '"{a}"', "null", "3"])
def test_columns_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="give an object of templates"):
        parse_columns(text)


def test_an_unknown_target_names_the_nearest_and_all_of_them() -> None:
    with pytest.raises(InvalidRequestError, match=r"did you mean solution\?\): use id, question, solution, answer"):
        parse_columns('{"solutoin": "{a}"}')


def test_a_template_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="the template of solution is a JSON array"):
        parse_columns('{"solution": ["{a}"]}')


def test_a_template_of_the_longest_length_is_taken_and_a_longer_one_refused() -> None:
    parse_columns(json.dumps({"solution": "x" * MAX_TEMPLATE_CHARACTERS}))
    with pytest.raises(InvalidRequestError, match="10001 characters, 10000 are allowed"):
        parse_columns(json.dumps({"solution": "x" * (MAX_TEMPLATE_CHARACTERS + 1)}))


@given(st.lists(st.one_of(st.text(alphabet="{}ab "), st.text()), max_size=5), st.text())
def test_escaped_literals_and_columns_come_back_exactly(literals: list[str], value: str) -> None:
    escaped = [literal.replace("{", "{{").replace("}", "}}") for literal in literals]
    template = parse_template("{a}".join(escaped))
    assert template.render({"a": value}, max_characters=10**9) == value.join(literals)


@given(st.text(alphabet="{}ab!.:[]" + string.digits))
def test_a_parsed_template_written_out_again_is_the_same_template(text: str) -> None:
    try:
        template = parse_template(text)
    except InvalidRequestError:
        return
    literals = [literal.replace("{", "{{").replace("}", "}}") for literal in template.literals]
    again = literals[0] + "".join(
        "{" + column + "}" + literal for column, literal in zip(template.columns, literals[1:], strict=True)
    )
    assert again == text


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner)).map(json.dumps))
def test_any_text_is_columns_or_refused_by_its_parameter(text: str) -> None:
    param = "/columns"
    try:
        parse_columns(text)
    except InvalidRequestError as error:
        param = error.param
    assert param == "/columns"


@given(
    templates=st.dictionaries(st.sampled_from(TARGETS), st.text(alphabet="{}abc ", max_size=12), max_size=3),
    row=st.dictionaries(
        st.sampled_from("abc"),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]),
        max_size=3,
    ),
)
def test_any_templates_fill_any_row_or_are_refused(templates: dict[str, str], row: dict[str, Any]) -> None:
    filled: dict[str, object] | None = None
    param = "/columns"
    try:
        filled = parse_columns(json.dumps(templates)).apply(row, max_characters=20)
    except (InvalidRequestError, InvalidDatasetError) as error:
        param = error.param
    assert param == "/columns"
    if filled is None:
        return
    assert filled.keys() == row.keys() | templates.keys()
    assert all(isinstance(filled[target], str) and len(str(filled[target])) <= 20 for target in templates)
    assert {name: filled[name] for name in row.keys() - templates.keys()} == {
        name: row[name] for name in row.keys() - templates.keys()
    }
