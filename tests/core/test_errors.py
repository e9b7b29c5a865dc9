"""Errors: stable codes, one class each, and whole on the other side of a process border."""

import inspect
import pickle
from collections import Counter

import pytest

from rlt_core import errors
from rlt_core.errors import NotAvailableYetError, NotImplementedYetError, RltError

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, RltError) and kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_pickling_with_all_that_it_says(kind: type[RltError]) -> None:
    error = kind("went wrong", param="/question", retry_after_s=2.5, extra={"lines": [1, 2]})
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "went wrong"
    assert (copy.detail, copy.param, copy.retry_after_s) == ("went wrong", "/question", 2.5)
    assert copy.extra == {"lines": [1, 2]}


def test_no_two_errors_share_a_code_but_the_two_for_what_is_not_there_yet() -> None:
    own = [kind for kind in CLASSES if "code" in vars(kind)]
    shared = {code for code, count in Counter(kind.code for kind in own).items() if count > 1}
    assert shared == {"not_available_yet"}
    assert {kind for kind in own if kind.code in shared} == {NotAvailableYetError, NotImplementedYetError}


def test_every_error_but_the_internal_one_has_a_code_of_its_own() -> None:
    assert {kind.__name__ for kind in CLASSES if "code" not in vars(kind)} == {"InternalError"}


@pytest.mark.parametrize("kind", CLASSES)
def test_codes_and_statuses_are_such_as_the_contract_has(kind: type[RltError]) -> None:
    assert kind.code == kind.code.lower().replace(" ", "_")
    assert 400 <= kind.status < 600
    assert kind.title
    if kind.retryable:
        assert kind.status in (408, 409, 429, 500, 503, 504)


def test_the_errors_that_users_make_are_never_a_500() -> None:
    for kind in CLASSES:
        if issubclass(kind, errors.InvalidRequestError | errors.NotFoundError | errors.ConflictError):
            assert kind.status < 500


def test_an_error_keeps_its_own_copy_of_what_it_was_given() -> None:
    given = {"lines": 1}
    error = RltError("x", extra=given)
    given["lines"] = 2
    assert error.extra == {"lines": 1}
