"""Verdicts on pairs made by hand: where an answer is found, and what each rule calls the same."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.answer_texts import FoundAnswer, choice_of, find_answer, plain, units_differ
from rlt_core.countdown import Countdown, check_expression, solve
from rlt_core.schemas.evaluate import VerdictRule
from rlt_core.verdicts import NO_ANSWER, UNCLOSED, Question, Verdict, fault_of, judge

GAME = {"nums": [44, 19, 35], "target": 98}


@pytest.mark.parametrize(
    ("solution", "text", "place"),
    [
        ("So \\boxed{16}.", "16", "boxed"),
        ("\\boxed{1} or rather \\boxed{2}", "2", "boxed"),
        ("\\boxed{\\frac{1}{2}} it is", "\\frac{1}{2}", "boxed"),
        ("\\fbox{7}", "7", "boxed"),
        ("$\\boxed 7$", "7", "boxed"),
        ("\\boxed  {8} } stray", "8", "boxed"),
        ("} } \\boxed{9}", "9", "boxed"),
        ("The answer is 3, in a box \\boxed{4}", "4", "boxed"),
        ("\\boxed{1} and one that never closes \\boxed{2", "1", "boxed"),
        ("3 + 4 = 7\n#### 7", "7", "marked"),
        ("#### 1\n#### 2", "2", "marked"),
        ("<answer> 5 * 3 </answer>", "5 * 3", "marked"),
        ("The answer is 16.", "16", "stated"),
        ("The answer is 3.5.", "3.5", "stated"),
        ("The answer is $\\frac{1}{2}$.", "\\frac{1}{2}", "stated"),
        ("**Final answer:** 12", "12", "stated"),
        ("The answer is 16. That is more than 3.", "16", "stated"),
        ("answer = x^2", "x^2", "stated"),
        ("The answer is (C).", "(C)", "stated"),
        ("The answer is 1.\nNo, the answer is 2.", "2", "stated"),
        ("She has 16 coins.\n\n", "She has 16 coins", "last_line"),
        ("first\nlast", "last", "last_line"),
    ],
)
def test_an_answer_is_found_where_it_is_stated(solution: str, text: str, place: str) -> None:
    found = find_answer(solution)
    assert found is not None
    assert (found.text, found.place) == (text, place)


def test_a_text_of_boxes_that_never_close_is_read_in_one_pass() -> None:
    began_s = time.process_time()
    assert find_answer("\\boxed{" * 20_000 + "1\n2") == FoundAnswer(text="2", place="last_line")
    assert time.process_time() - began_s < 2.0  # box by box it takes a minute


@pytest.mark.parametrize("solution", ["", " \n\t", "\\boxed{}", "\\boxed{ }", "."])
def test_no_answer_is_found_where_there_is_none(solution: str) -> None:
    assert find_answer(solution) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$16$", "16."),
        ("1,234,567", "1234567"),
        ("1{,}000", "1000"),
        ("\\text{Evelyn}", "evelyn"),
        ("\\(x + 1\\)", "x  +  1"),
        ("**North**", "north"),
        ("$\\text{north}$.", "North"),
    ],
)
def test_texts_that_are_written_in_two_ways_are_the_same(one: str, other: str) -> None:
    assert plain(one) == plain(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("16", "61"), ("1,23", "123"), ("1.5", "15"), ("-3", "3"), ("$1$ and $2$", "1 and $2"), ("a b", "ab")],
)
def test_texts_that_differ_stay_different(one: str, other: str) -> None:
    assert plain(one) != plain(other)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        *(
            ("C", "C"),
            ("(c)", "C"),
            ("[B]", "B"),
            ("D.", "D"),
            ("A: water", "A"),
            ("B) 5 m", "B"),
            ("\\text{(A)}", "A"),
        ),
        *(("C. the third", "C"), ("$\\text{D}$", "D"), ("A car", None), ("16", None), ("AB", None), ("", None)),
    ],
)
def test_a_choice_is_one_letter_that_stands_for_itself(text: str, letter: str | None) -> None:
    assert choice_of(text) == letter


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        *(("5 cm", "5 m", True), ("5\\text{ cm}", "5 \\mathrm{km}", True), ("3 hours", "3 min", True)),
        *(
            ("5 cm", "5 centimeters", False),
            ("5 cm", "5", False),
            ("5 apples", "5 coins", False),
            ("5 m", "5 metres", False),
        ),
        *(("5x", "5y", False), ("5 ms", "5 s", False), ("1 foot", "1 feet", False)),
    ],
)
def test_only_units_that_are_known_are_told_apart(one: str, other: str, differ: bool) -> None:
    assert units_differ(one, other) is differ
    assert units_differ(other, one) is differ


@pytest.mark.parametrize(
    ("text", "right", "why"),
    [
        ("44 + 19 + 35", True, ""),
        ("(44 + 19) + 35 = 98", True, ""),
        ("44+35+19=98", True, ""),
        ("44 + 35", False, "it uses [35, 44], given are [19, 35, 44]"),
        ("44 + 19 + 35 + 0", False, "it uses [0, 19, 35, 44], given are [19, 35, 44]"),
        ("44 + 44 + 10", False, "it uses [10, 44, 44], given are [19, 35, 44]"),
        ("44 - 19 + 35", False, "it is 60, not 98"),
        ("44 / (19 - 19) + 35", False, "it divides by zero"),
        ("98", False, "it uses [98], given are [19, 35, 44]"),
        ("44 + 19 + ", False, "no expression of whole numbers, + - * / and brackets"),
        ("44 ** 19 + 35", False, "no expression of whole numbers, + - * / and brackets"),
        ("__import__('os')", False, "no expression of whole numbers, + - * / and brackets"),
        ("44 + 19 + 35.0", False, "no expression of whole numbers, + - * / and brackets"),
        ("True + 19 + 35", False, "no expression of whole numbers, + - * / and brackets"),
        ("(" * 300 + "44" + ")" * 300, False, "the expression is too long"),
    ],
)
def test_a_countdown_is_won_by_exactly_the_numbers_that_reach_the_target(text: str, right: bool, why: str) -> None:
    found = check_expression(text, game=Countdown(numbers=(44, 19, 35), target=98))
    assert (found.right, found.why) == (right, why)


def test_a_countdown_is_reckoned_in_fractions() -> None:
    # 8 / (3 - 8/3) = 8 / (1/3) = 24: floats would give 23.999999999999996.
    assert check_expression("8 ÷ (3 − 8/3)", game=Countdown(numbers=(3, 8, 3, 8), target=24)).right  # noqa: RUF001 - as people write it
    assert check_expression("8 \\div \\left(3 - 8/3\\right)", game=Countdown(numbers=(3, 8, 3, 8), target=24)).right


@given(numbers=st.lists(st.integers(min_value=1, max_value=12), min_size=1, max_size=3), target=st.integers(0, 40))
def test_what_the_search_finds_wins(numbers: list[int], target: int) -> None:
    game = Countdown(numbers=tuple(numbers), target=target)
    found = solve(game)
    if found is not None:
        assert check_expression(found, game=game).right
    if Fraction(sum(numbers)) == target:
        assert found is not None


def asked(answer: str | None = "16", **metadata: object) -> Question:
    return Question(answer=answer, metadata=metadata)


def same_text(*, expected: str, found: FoundAnswer) -> bool:
    return expected in found.text


@pytest.mark.parametrize(
    ("rule", "question", "solution", "right"),
    [
        ("exact", asked("16"), "The answer is 16.", True),
        ("exact", asked("1000"), "\\boxed{1,000}", True),
        ("exact", asked("16"), "The answer is 16 coins.", False),
        ("exact", asked("16"), "She has 16 coins.", False),
        ("exact", asked("0.5"), "The answer is 1/2.", False),
        ("choice", asked("C"), "The answer is (C).", True),
        ("choice", asked("(c)"), "\\boxed{\\text{C}}", True),
        ("choice", asked("C"), "The answer is C: water.", True),
        ("choice", asked("C"), "The answer is (B).", False),
        ("choice", asked("A"), "The answer is A car.", False),
        ("countdown", asked(None, **GAME), "The answer is (44 + 19) + 35.", True),
        ("countdown", asked(None, **GAME), "<answer>44 + 19 - 35</answer>", False),
        ("math_verify", asked("16"), "She has 16 coins.", True),
        ("math_verify", asked("16"), "She has 17 coins.", False),
        ("math_verify", asked("5 cm"), "The answer is 5 m.", False),
    ],
)
def test_each_rule_judges_by_its_own_measure(rule: VerdictRule, question: Question, solution: str, right: bool) -> None:
    verdict = judge(solution, question=question, rule=rule, equal=same_text)
    assert verdict.right is right
    assert bool(verdict.why) is not right


@pytest.mark.parametrize(("answer", "why"), [("5 m", "another unit"), ("5 cm", ""), ("5 apples", ""), ("7", "")])
def test_known_units_are_told_apart_before_mathematics_is_asked(answer: str, why: str) -> None:
    def without_units(*, expected: str, found: FoundAnswer) -> bool:
        return True

    verdict = judge(f"The answer is {answer}.", question=asked("5 cm"), rule="math_verify", equal=without_units)
    assert verdict.why == why


def test_what_was_never_closed_or_says_nothing_is_wrong_and_says_why() -> None:
    assert judge(None, question=asked(), rule="exact") == Verdict(right=False, found=None, place=None, why=UNCLOSED)
    assert judge(" ", question=asked(), rule="exact") == Verdict(right=False, found=None, place=None, why=NO_ANSWER)


@pytest.mark.parametrize(
    ("rule", "question", "fault"),
    [
        ("exact", asked(None), "has no answer"),
        ("math_verify", asked("  "), "has no answer"),
        ("choice", asked("16"), "no letter of a choice"),
        ("countdown", asked("98"), "has no nums"),
        ("countdown", asked("98", nums=[1, "2"], target=3), "has no nums"),
        ("countdown", asked("98", nums=[1, 2], target=True), "has no nums"),
    ],
)
def test_a_question_that_a_rule_cannot_judge_says_so(rule: VerdictRule, question: Question, fault: str) -> None:
    assert fault in (fault_of(question, rule=rule) or "")
    with pytest.raises(ValueError, match="the question has"):
        judge("16", question=question, rule=rule, equal=same_text)


def test_mathematics_is_judged_by_nobody_but_who_knows_it() -> None:
    with pytest.raises(ValueError, match="needs something that compares"):
        judge("16", question=asked(), rule="math_verify")
