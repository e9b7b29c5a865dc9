"""Answers compared as mathematics, by the real library, on pairs made by hand; near misses among them."""

import pytest

from rlt_core.answer_texts import FoundAnswer
from rlt_core.errors import ConfigurationError
from rlt_core.verdicts import Question, judge
from rlt_train import math_equality
from rlt_train.math_equality import MathVerify

SAME = [
    # fractions, decimals, roots
    *(("\\frac{1}{2}", "1/2"), ("1/2", "0.5"), ("\\frac{2}{4}", "\\frac12"), ("-\\frac{1}{2}", "\\frac{-1}{2}")),
    *(
        ("1/3", "0.3333333"),
        ("10", "10.0"),
        ("\\sqrt{8}", "2\\sqrt{2}"),
        ("\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt 2}"),
    ),
    # ways to write a number
    *(("1000", "1,000"), ("1{,}000", "1000"), ("12", "$12"), ("72", "72 coins"), ("90", "90^\\circ")),
    # units, percentages
    *(("5\\text{ cm}", "5 centimetres"), ("5 cm", "5"), ("50\\%", "0.5"), ("50\\%", "50"), ("12.5\\%", "\\frac18")),
    # terms, equations
    *(("x^2+2x+1", "(x+1)^2"), ("x=5", "5"), ("5", "x = 5"), ("2\\pi", "\\pi \\cdot 2"), ("x \\le 3", "3 \\ge x")),
    # intervals, several answers, tuples
    *(("[0,1)", "[0, 1)"), ("(-\\infty,3]", "(-\\infty, 3]"), ("1,2,3", "3, 2, 1"), ("\\{1,2\\}", "\\{2,1\\}")),
    *(("\\pm 2", "-2, 2"), ("3, 5", "3 \\text{ and } 5"), ("(1,2)", "(1, 2)"), ("x=3,x=5", "x = 3 \\text{ or } x = 5")),
    *(
        ("\\text{Evelyn}", "Evelyn"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"),
    ),
]
OTHER = [
    *(("\\frac{1}{2}", "2"), ("1/2", "0.05"), ("1/3", "0.333"), ("5", "-5"), ("5", "5.0001"), ("\\pi", "3.14159")),
    *(("1000", "100"), ("1,234", "1.234"), ("0.5", "50"), ("50\\%", "5\\%"), ("5 cm", "5 m"), ("3 hours", "3 minutes")),
    *(("x^2+2x+1", "x^2+1"), ("\\sqrt{8}", "2\\sqrt{3}"), ("[0,1)", "(0,1)"), ("(0,1]", "[0,1]"), ("(1,2)", "(2,1)")),
    *(("3, 5", "3"), ("3", "3, 5"), ("1,2,3", "1,2,4"), ("\\text{Evelyn}", "\\text{Evan}"), ("16", "no idea")),
]


@pytest.fixture(scope="module")
def equal() -> MathVerify:
    return MathVerify()


def right(expected: str, solution: str, *, equal: MathVerify) -> bool:
    return judge(solution, question=Question(answer=expected), rule="math_verify", equal=equal).right


@pytest.mark.parametrize(("expected", "found"), SAME)
def test_the_same_in_other_words_is_right(expected: str, found: str, equal: MathVerify) -> None:
    assert right(expected, f"\\boxed{{{found}}}", equal=equal)


@pytest.mark.parametrize(("expected", "found"), OTHER)
def test_a_near_miss_is_wrong(expected: str, found: str, equal: MathVerify) -> None:
    assert not right(expected, f"\\boxed{{{found}}}", equal=equal)


def test_in_a_last_line_of_words_the_number_is_read(equal: MathVerify) -> None:
    assert right("16", "13 - 9 = 4.\nSo Carla has 16 coins now.", equal=equal)
    assert not right("16", "13 - 9 = 4.\nSo Carla has 17 coins now.", equal=equal)
    assert not right("16", "I do not know.", equal=equal)


@pytest.mark.parametrize(
    "nonsense", ["\\frac{", "16" + " " * 999, "9" * 400 + "^" + "9" * 40, "\\int \\int", "\0", "∀x∃"]
)
def test_what_cannot_be_read_is_wrong_and_breaks_nothing(nonsense: str, equal: MathVerify) -> None:
    hasty = MathVerify(limit_s=1)
    assert not hasty(expected="16", found=FoundAnswer(text=nonsense, place="boxed"))


def test_where_it_is_not_installed_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(math_equality.importlib, "import_module", missing)
    with pytest.raises(ConfigurationError, match=r"pip install 'math-verify"):
        MathVerify()
