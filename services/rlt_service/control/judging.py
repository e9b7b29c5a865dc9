"""Own whether the answers to a dataset's rows can be judged: by the rule that is asked for, with what is installed."""

import importlib.util
from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.evaluate import VerdictRule
from rlt_core.verdicts import Question, fault_of
from rlt_service.settings import Settings

LIBRARY = "math_verify"


def check_library(settings: Settings, *, rule: VerdictRule) -> None:
    """Refuse mathematics where workers run here, and the library that compares it is not installed."""
    here = settings.broker_url is None
    if rule == "math_verify" and here and importlib.util.find_spec(LIBRARY) is None:
        raise InvalidRequestError(
            "math-verify, which compares answers as mathematics, is not installed here: pip install "
            "'math-verify[antlr4_13_2]', or ask for the verdict exact, choice or countdown",
            param="/verdict",
        )


@dataclass(slots=True)
class FaultyRows:
    """Rows with a fault: how many, and the first."""

    count: int = 0
    first: str | None = None
    why: str = ""

    def add(self, row: DatasetRow, fault: str | None) -> None:
        """Count a row that has one."""
        if fault is None:
            return
        if not self.count:
            self.first, self.why = row.id, fault
        self.count += 1

    def judge(self, row: DatasetRow, *, rule: VerdictRule) -> None:
        """Count a row whose answers the rule cannot judge."""
        self.add(row, fault_of(Question(answer=row.answer, metadata=row.metadata), rule=rule))

    def refuse_unjudged(self, *, rows: int, rule: VerdictRule, param: str) -> None:
        """Raise InvalidRequestError, naming the first, where one of so many rows cannot be judged."""
        if self.count:
            raise InvalidRequestError(
                f"{self.count} of {rows} rows cannot be judged by the verdict {rule}; the first, {self.first!r}, "
                f'{self.why}: upload answers (?columns={{"answer": "…"}}), or ask for another verdict',
                param=param,
            )
