"""Own what a program can tell of an explanation: its equations, whether they hold, where they end. Pure."""

import ast
import operator
import re
from collections.abc import Callable

_NUMBER = r"\(*-?\d*\.?\d+\)*"
_EXPRESSION = re.compile(rf"{_NUMBER}(?:\s*[-+*/x]\s*{_NUMBER})*")
_EQUATION = re.compile(rf"({_NUMBER}(?:\s*[-+*/x]\s*{_NUMBER})+)\s*=\s*(-?\d*\.?\d+)")
_BETWEEN_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")
_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
CLOSE = 1e-6


def equations(text: str) -> list[tuple[str, str]]:
    """List the equations of a text as (left, right), without spaces: at least two numbers, and what they come to."""
    found = _EQUATION.findall(_plain(text))
    return [("".join(left.split()), right) for left, right in found]


def equations_hold(text: str) -> bool:
    """Tell whether a text has an equation, and each of its equations is true; a decimal may be rounded."""
    found = equations(text)
    return bool(found) and all(_is(left, right) for left, right in found)


def same_equations(text: str, *, trace: str) -> bool:
    """Tell whether a text's equations are those of the worked steps, in order."""
    return equations(text) == equations(trace)


def ends_at(text: str, *, solution: str) -> bool:
    """Tell whether the last equation of a text, true or not, gives what the solution comes to."""
    found, wanted = equations(text), _EXPRESSION.findall(_plain(solution))
    return bool(found) and bool(wanted) and _is(wanted[-1], found[-1][1])


def _plain(text: str) -> str:
    return _BETWEEN_THOUSANDS.sub("", text.replace("$", ""))


def _is(expression: str, number: str) -> bool:
    value = _value(expression)
    decimals = len(number.partition(".")[2])
    return value is not None and abs(value - float(number)) <= (0.5 * 10.0**-decimals if decimals else 0.0) + CLOSE


def _value(expression: str) -> float | None:
    """Work an expression out, products before sums; None where it has no value."""
    unmatched = expression.count("(") - expression.count(")")
    whole = expression[unmatched:] if unmatched > 0 else expression[: len(expression) + unmatched]
    try:
        return _worked_out(ast.parse(whole.replace("x", "*"), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError):
        return None


def _worked_out(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_worked_out(operand)
        case ast.BinOp(left=left, op=operation, right=right):
            return _OPERATIONS[type(operation)](_worked_out(left), _worked_out(right))
        case _:
            raise ValueError(f"{ast.dump(node)} is no arithmetic")
