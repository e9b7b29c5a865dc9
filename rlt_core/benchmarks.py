"""Own how rows of well-known benchmarks become dataset rows: their own columns in, questions with answers out. Pure.

No benchmark's rows come with this project: who has a file uploads it with its name.
"""

import difflib
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rlt_core.countdown import Countdown, solve
from rlt_core.errors import InvalidDatasetError, InvalidRequestError
from rlt_core.schemas.evaluate import VerdictRule

PARAM = "/benchmark"
LETTERS = "ABCD"

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark: how its rows are read, and by which verdict its answers are judged."""

    name: str
    read: Callable[[Row], dict[str, object]]
    verdict: VerdictRule

    def apply(self, row: Row, *, max_characters: int) -> dict[str, object]:
        """Give the row in the contract's columns; raises InvalidDatasetError for one that is not this benchmark's."""
        try:
            made = self.read(row)
        except InvalidDatasetError as error:
            raise InvalidDatasetError(f"no row of {self.name}: {error.detail}", param=PARAM) from error
        for name, value in made.items():
            if isinstance(value, str) and len(value) > max_characters:
                raise InvalidDatasetError(f"{name} has {len(value)} characters, {max_characters} are allowed")
        return made


def find_benchmark(name: str) -> Benchmark:
    """Look a benchmark up; raises InvalidRequestError naming those that are known."""
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name[:80], BENCHMARKS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InvalidRequestError(
            f"{name[:80]!r} is no benchmark that is known here{hint}: {', '.join(BENCHMARKS)}; any other file with "
            "answers is uploaded with ?columns=",
            param=PARAM,
        )
    return BENCHMARKS[name]


def _gsm8k(row: Row) -> dict[str, object]:
    """Read `question` and `answer`, whose last line is `#### 72`; calculator marks `<<6*8=48>>` are left out."""
    question, worked = _text(row, "question"), _text(row, "answer")
    steps, mark, answer = worked.rpartition("####")
    if not mark or not answer.strip():
        raise InvalidDatasetError("answer has no line `#### …`")
    steps = re.sub(r"<<[^<>]*>>", "", steps).strip()
    answer = answer.strip().replace(",", "")
    return {"question": question, "solution": f"The answer is {answer}.", "answer": answer} | _trace(steps)


def _problem(row: Row) -> dict[str, object]:
    """Read problem, solution and answer, however the columns are capitalised (MATH-500, AIME)."""
    named: dict[str, object] = {name.casefold(): value for name, value in row.items()}
    answer = named.get("answer")
    if isinstance(answer, int) and not isinstance(answer, bool):
        named["answer"] = str(answer)
    answer_text = _text(named, "answer")
    made: dict[str, object] = {
        "question": _text(named, "problem"),
        "solution": f"The answer is \\boxed{{{answer_text}}}.",
        "answer": answer_text,
    }
    kept = {name: named[name] for name in ("subject", "level", "unique_id", "id") if named.get(name) is not None}
    worked = named.get("solution")
    return made | {"metadata": kept} | _trace(worked if isinstance(worked, str) else "")


def _gpqa(row: Row) -> dict[str, object]:
    """Read the question and its four answers; they are lettered in an order that follows from the question's hash."""
    question, right = _text(row, "Question"), _text(row, "Correct Answer")
    wrong = [_text(row, f"Incorrect Answer {number}") for number in (1, 2, 3)]
    order = sorted([right, *wrong], key=lambda text: hashlib.sha256(f"{question}\0{text}".encode()).digest())
    if len(set(order)) < len(order):
        raise InvalidDatasetError("two of its four answers are the same")
    choices = "\n".join(f"({letter}) {text}" for letter, text in zip(LETTERS, order, strict=True))
    letter = LETTERS[order.index(right)]
    explanation = row.get("Explanation")
    return {
        "question": f"{question}\n\n{choices}\n\nGive the letter of the right choice.",
        "solution": f"The answer is ({letter}).",
        "answer": letter,
    } | _trace(explanation if isinstance(explanation, str) else "")


def _countdown(row: Row) -> dict[str, object]:
    """Read `nums` (or `numbers`) and `target`, and search for a solution, which the rows have not."""
    numbers, target = row.get("nums", row.get("numbers")), row.get("target")
    given: list[object] = numbers if isinstance(numbers, list) else []  # pyright: ignore[reportUnknownVariableType] - JSON
    whole = [number for number in given if isinstance(number, int) and not isinstance(number, bool)]
    if not whole or len(whole) < len(given) or not isinstance(target, int) or isinstance(target, bool):
        raise InvalidDatasetError("nums must be whole numbers, and target one")
    found = solve(Countdown(numbers=tuple(whole), target=target))
    if found is None:
        raise InvalidDatasetError(f"no way from {whole} to {target} was found (at most 5 numbers are searched)")
    listed = ", ".join(map(str, whole))
    return {
        "question": f"Use the numbers {listed}, each exactly once, with +, -, *, / and brackets, to make {target}.",
        "solution": f"The answer is {found}.",
        "answer": str(target),
        "metadata": {"nums": whole, "target": target},
    }


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise InvalidDatasetError(f"the column {column!r} holds no text; there are {', '.join(sorted(row)) or 'none'}")
    return value.strip()


def _trace(text: str) -> dict[str, object]:
    return {"reasoning_trace": text.strip()} if text.strip() else {}


BENCHMARKS = {
    found.name: found
    for found in (
        Benchmark(name="gsm8k", read=_gsm8k, verdict="math_verify"),
        Benchmark(name="math-500", read=_problem, verdict="math_verify"),
        Benchmark(name="aime-2024", read=_problem, verdict="math_verify"),
        Benchmark(name="gpqa-diamond", read=_gpqa, verdict="choice"),
        Benchmark(name="countdown", read=_countdown, verdict="countdown"),
    )
}
"""By the name that an upload gives."""
