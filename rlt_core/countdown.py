"""Own the countdown game: reach a target with given numbers, each once, by + - * / and brackets. Exact arithmetic."""

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

MAX_EXPRESSION_CHARACTERS = 500
MAX_SOLVED_NUMBERS = 5
"""Of more numbers than these no solution is searched for: there are millions of ways."""

_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"})  # noqa: RUF001 - what people and models write
_LATEX = (("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"), ("\\left", ""), ("\\right", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Countdown:
    """One game."""

    numbers: tuple[int, ...]
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountdownFinding:
    """Whether an expression wins, and if not why."""

    right: bool
    why: str = ""


def read_game(metadata: Mapping[str, object]) -> Countdown | None:
    """Read a game from a row's metadata (`nums` or `numbers`, and `target`); None where these are not there."""
    numbers, target = metadata.get("nums", metadata.get("numbers")), metadata.get("target")
    if not isinstance(numbers, list) or not numbers or not _whole(target):
        return None
    given: list[object] = numbers  # pyright: ignore[reportUnknownVariableType] - JSON
    whole = [number for number in given if isinstance(number, int) and not isinstance(number, bool)]
    if len(whole) < len(given):
        return None
    return Countdown(numbers=tuple(whole), target=int(str(target)))


def check_expression(text: str, *, game: Countdown) -> CountdownFinding:
    """Tell whether an expression reaches the target with exactly the given numbers; what follows `=` is not read."""
    expression = text.partition("=")[0].translate(_SIGNS)
    for latex, sign in _LATEX:
        expression = expression.replace(latex, sign)
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        return CountdownFinding(right=False, why="the expression is too long")
    try:
        used: list[int] = []
        value = _value(ast.parse(expression.strip(), mode="eval").body, used=used)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return CountdownFinding(right=False, why="no expression of whole numbers, + - * / and brackets")
    except ZeroDivisionError:
        return CountdownFinding(right=False, why="it divides by zero")
    if Counter(used) != Counter(game.numbers):
        return CountdownFinding(right=False, why=f"it uses {sorted(used)}, given are {sorted(game.numbers)}")
    if value != game.target:
        return CountdownFinding(right=False, why=f"it is {value}, not {game.target}")
    return CountdownFinding(right=True)


def solve(game: Countdown) -> str | None:
    """Find an expression that wins; None where there is none, or where there are more than 5 numbers."""
    if len(game.numbers) > MAX_SOLVED_NUMBERS:
        return None
    return _search([(Fraction(number), str(number)) for number in game.numbers], target=game.target)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _value(node: ast.expr, *, used: list[int]) -> Fraction:
    """Compute a tree of whole numbers and the four operations; raises ValueError for anything else in it."""
    match node:
        case ast.Constant(value=bool()):
            raise ValueError("no number")
        case ast.Constant(value=int(number)):
            used.append(number)
            return Fraction(number)
        case ast.BinOp(left=left, op=operation, right=right):
            first, second = _value(left, used=used), _value(right, used=used)
            match operation:
                case ast.Add():
                    return first + second
                case ast.Sub():
                    return first - second
                case ast.Mult():
                    return first * second
                case ast.Div():
                    return first / second
                case _:
                    raise ValueError("no operation of the game")
        case _:
            raise ValueError("no expression of the game")


def _search(parts: Sequence[tuple[Fraction, str]], *, target: int) -> str | None:
    if len(parts) == 1:
        value, text = parts[0]
        return text if value == target else None
    for place, (first, one) in enumerate(parts):
        for other, (second, two) in enumerate(parts):
            if place == other:
                continue
            rest = [part for index, part in enumerate(parts) if index not in (place, other)]
            results = [(first - second, f"({one} - {two})")]
            if place < other:
                results += [(first + second, f"({one} + {two})"), (first * second, f"({one} * {two})")]
            if second != 0:
                results.append((first / second, f"({one} / {two})"))
            for result in results:
                found = _search([*rest, result], target=target)
                if found is not None:
                    return found
    return None
