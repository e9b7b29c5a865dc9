"""The judge of a sustained overload finds fault with every part of its promise."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from benchmarks.reliability.sustained_overload import FULL, QUICK, Found, Phase

MIB = 2**20
SATURATED = Phase(statuses={200: 600}, rate=30.0, asked=30.0)
SOUND = Found(
    before=SATURATED,
    overload=Phase(statuses={200: 1740, 429: 15_000, 503: 3}, rate=29.0, asked=280.0),
    after=SATURATED,
    health_p99_s=0.05,
    memory=(100 * MIB, 109 * MIB),
)


def test_a_server_that_gives_what_it_gave_is_sound() -> None:
    assert SOUND.faults(FULL) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"overload": Phase(statuses={200: 1740, 429: 15_000, 500: 1}, rate=29.0, asked=280.0)}, "answers [500]"),
        ({"overload": Phase(statuses={200: 1740, 429: 15_000, 0: 1}, rate=29.0, asked=280.0)}, "answers [0]"),
        (
            {"overload": Phase(statuses={200: 17_400}, rate=290.0, asked=280.0)},
            "hardly any call was refused",
        ),
        (
            {"overload": Phase(statuses={200: 1500, 429: 15_000}, rate=28.0, asked=280.0)},
            "28.0 answers a second while overloaded",
        ),
        ({"overload": Phase(statuses={200: 1740, 429: 5000}, rate=29.0, asked=112.0)}, "only 112 calls a second"),
        ({"after": Phase(statuses={200: 100}, rate=5.0, asked=280.0)}, "5.0 answers a second afterwards"),
        ({"health_p99_s": 0.1}, "/healthz took 0.100 s at p99"),
        ({"memory": (100 * MIB, 111 * MIB)}, "memory grew to 1.11 times"),
    ],
)
def test_every_part_of_the_promise_can_be_broken(changes: Mapping[str, object], fault: str) -> None:
    [found] = replace(SOUND, **changes).faults(FULL)
    assert found.startswith(fault)


def test_a_busy_machine_is_promised_no_time_of_healthz() -> None:
    assert replace(SOUND, health_p99_s=3.0).faults(QUICK) == []
