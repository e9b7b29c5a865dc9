"""Own how two answers are compared as mathematics: by math-verify, which is installed where answers are judged.

Leans on math-verify 0.9. What it calls the same is: 50% and 1/2, but also 50% and 50; 16 and "16 coins", whatever the
unit (known units are compared before it is asked, rlt_core.answer_texts); equations and their right side.
"""

import importlib
import logging
from typing import Any

from rlt_core.answer_texts import FoundAnswer
from rlt_core.errors import ConfigurationError

LIMIT_S = 5
"""Seconds that reading one answer, and comparing two, may take."""
LONGEST_CHARACTERS = 1000
"""A longer text is no answer, and would take long to read."""
DIGITS = 6
"""Decimal places that decimals are rounded to before they are compared."""


class MathVerify:
    """rlt_core.verdicts.MathEquality, by math-verify; for the main thread, whose alarm bounds its time."""

    def __init__(self, *, limit_s: int = LIMIT_S) -> None:
        """Import it, which takes a second; raises ConfigurationError where it is not installed."""
        self._limit_s = limit_s
        try:
            self._library: Any = importlib.import_module("math_verify")
        except ImportError as error:
            raise ConfigurationError(
                "answers are to be compared as mathematics, and math-verify is not installed where this worker runs: "
                "pip install 'math-verify[antlr4_13_2]', or judge by verdict exact"
            ) from error
        logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns of each answer that it cannot read

    def __call__(self, *, expected: str, found: FoundAnswer) -> bool:
        """Tell whether both mean the same; what cannot be read, or takes too long, is not the same.

        An answer that is marked as one is read whole; in a last line of words, what looks like mathematics is.
        """
        if len(found.text) > LONGEST_CHARACTERS:
            return False
        gold = self._parsed(f"${expected}$")
        read = self._parsed(found.text if found.place == "last_line" else f"${found.text}$")
        if not gold or not read:
            return False
        return bool(self._library.verify(gold, read, float_rounding=DIGITS, timeout_seconds=self._limit_s))

    def _parsed(self, text: str) -> list[Any]:
        parsed: list[Any] = self._library.parse(text, parsing_timeout=self._limit_s)
        return parsed
