"""A row as other trainers read it: whose turns, which tags, and that a row without a thought is none."""

import pytest

from rlt_core.chat_rows import ChatForm, chat_row
from rlt_core.formats import R1_1, STRATOS_1, Format
from rlt_core.schemas.datasets import DatasetRow

ROW = DatasetRow(id="r1#0", question="1 + 1?", solution="It is 2.", reasoning_trace="One more than one.")
ASKED = {"role": "user", "content": "1 + 1?"}
TAGGED = "<|begin_of_thought|>One more than one.<|end_of_thought|>\n\n<|begin_of_solution|>It is 2.<|end_of_solution|>"


def test_messages_are_the_students_turns() -> None:
    assert chat_row(ROW, form="messages", format=STRATOS_1, folded=False) == {
        "id": "r1#0",
        "messages": [
            {"role": "system", "content": STRATOS_1.student_instruction},
            ASKED,
            {"role": "assistant", "content": TAGGED},
        ],
    }


def test_a_completion_is_the_answer_alone() -> None:
    made = chat_row(ROW, form="prompt_completion", format=STRATOS_1, folded=False)
    assert made is not None
    assert made["prompt"][-1] == ASKED
    assert made["completion"] == [{"role": "assistant", "content": TAGGED}]


def test_sharegpt_says_human_and_gpt() -> None:
    assert chat_row(ROW, form="sharegpt", format=STRATOS_1, folded=False) == {
        "id": "r1#0",
        "conversations": [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": TAGGED}],
        "system": STRATOS_1.student_instruction,
    }


@pytest.mark.parametrize("form", ["messages", "prompt_completion", "sharegpt"])
def test_where_there_is_no_system_role_the_instruction_stands_before_the_question(form: ChatForm) -> None:
    made = chat_row(ROW, form=form, format=STRATOS_1, folded=True)
    assert made is not None
    asked = {"messages": "content", "prompt_completion": "content", "sharegpt": "value"}[form]
    turns = {"messages": "messages", "prompt_completion": "prompt", "sharegpt": "conversations"}
    first = made[turns[form]][0]
    assert first[asked] == f"{STRATOS_1.student_instruction}\n\n1 + 1?"
    assert "system" not in str(first.get("role"))
    assert not made.get("system")


@pytest.mark.parametrize(("format", "start"), [(STRATOS_1, "<|begin_of_thought|>"), (R1_1, "<think>")])
def test_tags_are_those_of_the_format(format: Format, start: str) -> None:
    made = chat_row(ROW, form="messages", format=format, folded=False)
    assert made is not None
    assert made["messages"][-1]["content"].startswith(start)


def test_a_row_without_an_explanation_is_left_out() -> None:
    bare = ROW.model_copy(update={"reasoning_trace": None})
    assert chat_row(bare, form="messages", format=STRATOS_1, folded=False) is None
