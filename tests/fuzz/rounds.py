"""Own how often the contract is fuzzed: until each operation and all together have had their calls."""

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.contract import MakeKey, OperationRecord, Records, fuzz_contract

MOST_ROUNDS = 20


def fuzz_in_rounds(
    home: Path,
    *,
    seed: int,
    examples: int,
    total: int = 0,
    keyed: MakeKey | None = None,
    told: Callable[[int], None] = lambda calls: None,
) -> Records:
    """Fuzz until every operation with input has had `examples` calls, and all together `total`; seeds go up by one."""
    records: Records = {}
    for number in range(MOST_ROUNDS):
        short = sparse(records, examples=examples)
        missing = total - calls_of(records)
        if number and not short and missing <= 0:
            break
        only = () if not number or missing > 0 else short
        phases = {"phases": ("fuzzing",)} if only else {}
        found = fuzz_contract(
            home / str(number), seed=seed + number, examples=examples, only=only, keyed=keyed, **phases
        )
        for label, record in found.items():
            add(records.setdefault(label, OperationRecord()), record)
        told(calls_of(records))
    return records


def sparse(records: Records, *, examples: int) -> list[str]:
    """Name the operations that take input and have had too few calls."""
    return [label for label, record in records.items() if record.takes_input and record.calls < examples]


def calls_of(records: Records) -> int:
    """Count all calls."""
    return sum(record.calls for record in records.values())


def add(record: OperationRecord, more: OperationRecord) -> None:
    """Add a later round's record of the same operation."""
    record.takes_input |= more.takes_input
    record.calls += more.calls
    record.linked += more.linked
    record.seconds += more.seconds
    for status, count in more.statuses.items():
        record.statuses[status] += count
    for title, told in more.failures.items():
        record.failures.setdefault(title, told)
