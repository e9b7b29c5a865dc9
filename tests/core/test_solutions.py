"""What a student wrote, read back: thought and solution, and what was never closed."""

import pytest

from rlt_core.formats import R1_1, STRATOS_1, Format
from rlt_core.solutions import read_solution

WHOLE = "3 + 4 is 7.<|end_of_thought|>\n\n<|begin_of_solution|>It is 7.<|end_of_solution|>"


@pytest.mark.parametrize(
    ("form", "text", "ended", "thought", "solution"),
    [
        (STRATOS_1, WHOLE, True, "3 + 4 is 7.", "It is 7."),
        (STRATOS_1, f"{WHOLE} and more<|end_of_solution|>", True, "3 + 4 is 7.", "It is 7."),
        (STRATOS_1, WHOLE.removesuffix("<|end_of_solution|>"), True, "3 + 4 is 7.", None),
        (STRATOS_1, "3 + 4 is 7.<|end_of_thought|> It is 7.", True, "3 + 4 is 7.", None),
        (
            STRATOS_1,
            "3 + 4 is <|begin_of_solution|>7<|end_of_solution|>",
            True,
            "3 + 4 is <|begin_of_solution|>7<|end_of_solution|>",
            None,
        ),
        (STRATOS_1, "a<|end_of_thought|><|begin_of_solution|><|end_of_solution|>", True, "a", ""),
        (STRATOS_1, "", True, "", None),
        (R1_1, "3 + 4 is 7.</think>\n\nIt is 7.", True, "3 + 4 is 7.", "It is 7."),
        (R1_1, "3 + 4 is 7.</think>\n\nIt is", False, "3 + 4 is 7.", None),
        (R1_1, "3 + 4 is 7.</think>\n\n", True, "3 + 4 is 7.", None),
        (R1_1, "3 + 4 is", False, "3 + 4 is", None),
    ],
)
def test_a_solution_counts_where_thought_and_solution_were_closed(
    form: Format, text: str, ended: bool, thought: str, solution: str | None
) -> None:
    found = read_solution(text, format=form, ended=ended)
    assert (found.thought, found.solution) == (thought, solution)
