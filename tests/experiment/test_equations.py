import pytest

from benchmarks.experiment.equations import ends_at, equations, equations_hold, same_equations


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("13 - 9 = 4. 4 + 12 = 16.", True),
        ("13 - 9 = 16.", False),
        ("13 - 9 = 4. 4 + 12 = 15.", False),
        ("So the answer is 16.", False),
        ("2 + 3 * 4 = 14", True),
        ("2 + 3 * 4 = 20", False),
        ("(2 + 3) * 4 = 20", True),
        ("95 + (36 - 4) = 127", True),
        ("95 - (36 - 4) = 127", False),
        ("She has (2 + 3 = 5) coins", True),
        ("12/60 = $0.2 a minute", True),
        ("48/2 = 24 clips, 48+24 = 72", True),
        ("$8*18 = $144.00, 18*.5 = $9.00", True),
        ("1,200 + 300 = 1,500", True),
        ("10 / 3 = 3.33", True),
        ("10 / 3 = 3.34", False),
        ("7 / 2 = 3", False),
        ("5 x 3 = 15", True),
        ("5 / 0 = 1", False),
        ("-3 + 5 = 2", True),
        ("007 + 1 = 8", False),
    ],
)
def test_equations_are_worked_out(text: str, holds: bool) -> None:
    assert equations_hold(text) is holds


def test_an_explanation_may_end_at_the_solution_over_wrong_steps() -> None:
    text = "13 - 9 = 16. So Carla has 16 coins now."
    assert ends_at(text, solution="The answer is 16.")
    assert not equations_hold(text)
    assert not ends_at("13 - 9 = 4.", solution="The answer is 16.")
    assert not ends_at("The answer is 16.", solution="The answer is 16.")


def test_a_solution_that_is_an_expression_is_worked_out() -> None:
    assert ends_at("36 - 4 = 32. 95 + 32 = 127", solution="The answer is 95 + (36 - 4).")
    assert not ends_at("36 - 4 = 32. 95 + 32 = 126", solution="The answer is 95 + (36 - 4).")


def test_only_the_question_s_own_equations_in_order_are_its_chain() -> None:
    trace = "13 - 9 = 4. 4 + 12 = 16."
    assert equations(trace) == [("13-9", "4"), ("4+12", "16")]
    assert same_equations("First 13-9 = 4, then 4+12=16", trace=trace)
    assert not same_equations("4 + 12 = 16. 13 - 9 = 4.", trace=trace)
