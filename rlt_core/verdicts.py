"""Own whether a solution's answer is right: one rule a dataset, the text that was compared, and why. Pure.

Mathematics is asked of a `MathEquality` that is handed in; everything else is text and whole numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rlt_core.answer_texts import FoundAnswer, choice_of, find_answer, plain, units_differ
from rlt_core.countdown import check_expression, read_game
from rlt_core.schemas.evaluate import VerdictRule

UNCLOSED = "the solution was never closed"
NO_ANSWER = "there is no answer in it"


class MathEquality(Protocol):
    """Compares two answers as mathematics."""

    def __call__(self, *, expected: str, found: FoundAnswer) -> bool:
        """Tell whether both mean the same; what cannot be read is not the same."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a verdict needs of a row."""

    answer: str | None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one answer."""

    right: bool
    found: str | None
    """The text that was compared; null where there was none."""
    place: str | None
    why: str = ""
    """Empty where it is right."""


def fault_of(question: Question, *, rule: VerdictRule) -> str | None:
    """Say why a rule can judge no answer to this question; None where it can."""
    if rule == "countdown":
        if read_game(question.metadata) is None:
            return "has no nums (whole numbers) and target in its metadata"
        return None
    if question.answer is None or not question.answer.strip():
        return "has no answer"
    if rule == "choice" and choice_of(question.answer) is None:
        return f"has the answer {question.answer[:40]!r}, which is no letter of a choice"
    return None


def judge(solution: str | None, *, question: Question, rule: VerdictRule, equal: MathEquality | None = None) -> Verdict:
    """Judge a solution; None is one that was never closed, which is wrong.

    Raises ValueError for a question that the rule cannot judge (`fault_of`), and for `math_verify` without `equal`.
    """
    fault = fault_of(question, rule=rule)
    if fault is not None:
        raise ValueError(f"the question {fault}")
    if solution is None:
        return Verdict(right=False, found=None, place=None, why=UNCLOSED)
    found = find_answer(solution)
    if found is None:
        return Verdict(right=False, found=None, place=None, why=NO_ANSWER)
    why = _RULES[rule](found, question, equal)
    return Verdict(right=not why, found=found.text, place=found.place, why=why)


def _exact(found: FoundAnswer, question: Question, equal: MathEquality | None) -> str:
    return "" if plain(found.text) == plain(question.answer or "") else "another text"


def _choice(found: FoundAnswer, question: Question, equal: MathEquality | None) -> str:
    letter, wanted = choice_of(found.text), choice_of(question.answer or "")
    if letter is None:
        return "no letter of a choice"
    return "" if letter == wanted else "another choice"


def _countdown(found: FoundAnswer, question: Question, equal: MathEquality | None) -> str:
    game = read_game(question.metadata)
    if game is None:
        raise ValueError("the question describes no game")
    return check_expression(found.text, game=game).why


def _math(found: FoundAnswer, question: Question, equal: MathEquality | None) -> str:
    expected = question.answer or ""
    if equal is None:
        raise ValueError("mathematics needs something that compares it")
    if units_differ(expected, found.text):
        return "another unit"
    if plain(found.text) == plain(expected) or equal(expected=expected, found=found):
        return ""
    return "not the same"


_RULES = {"math_verify": _math, "exact": _exact, "choice": _choice, "countdown": _countdown}
