"""Own the second try of a transaction that Postgres broke off for another's sake (a deadlock, a conflict)."""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from rlt_service.store.faults import TransactionLostError

TRIES = 5
_FIRST_WAIT_S = 0.02

P = ParamSpec("P")
T = TypeVar("T")


def tried_again(write: Callable[P, T]) -> Callable[P, T]:
    """Carry a method that is one transaction, and nothing beside it, out again when that transaction was lost."""

    @wraps(write)
    def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        for number in range(TRIES - 1):
            try:
                return write(*args, **kwargs)
            except TransactionLostError:
                # Those who were in each other's way come back at different times.
                time.sleep(_FIRST_WAIT_S * 2**number * random.uniform(0.5, 1.5))
        return write(*args, **kwargs)

    return tried
