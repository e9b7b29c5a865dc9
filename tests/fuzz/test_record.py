"""What a fuzzing leaves behind: a line an operation, and a summary that names what was found."""

from benchmarks.reliability.run import Run
from tests.fuzz.__main__ import summary_of, trials_of
from tests.fuzz.contract import OperationRecord
from tests.fuzz.rounds import add, calls_of, sparse

RUN = Run(seed=3, count=60, seconds=1.5, commit="abc", date="2026-11-25", machine="a machine")


def record(*, calls: int, takes_input: bool = True, **failures: str) -> OperationRecord:
    return OperationRecord(
        takes_input=takes_input, calls=calls, statuses={200: calls}, failures=dict(failures), seconds=[0.25] * calls
    )


def test_an_operation_with_a_finding_has_failed_and_is_named() -> None:
    records = {"GET /b": record(calls=20, wrong="curl it"), "GET /a": record(calls=40)}
    trials = list(trials_of(records, seed=3))
    assert [(trial.fault, trial.passed, trial.figures["calls"]) for trial in trials] == [
        ("GET /a", True, 40),
        ("GET /b", False, 20),
    ]
    assert trials[0].figures["200"] == 40
    told = summary_of(trials, RUN)
    assert told.startswith("2 operations, 60 calls, 1 operations with findings\nseed 3, commit abc, 2026-11-25")
    assert told.endswith("GET /b: wrong: curl it\n")


def test_rounds_go_on_until_what_takes_input_has_had_its_calls() -> None:
    records = {"GET /a": record(calls=10), "GET /b": record(calls=2, takes_input=False)}
    assert sparse(records, examples=50) == ["GET /a"]
    add(records["GET /a"], record(calls=45, wrong="once"))
    assert sparse(records, examples=50) == []
    assert (calls_of(records), records["GET /a"].statuses, records["GET /a"].failures) == (
        57,
        {200: 55},
        {"wrong": "once"},
    )
