"""Every metric that a server tells: named by convention, said in words, with labels of few values, and in the docs."""

import re

import pytest
from prometheus_client.metrics_core import Metric

from tests.support import metrics_page

UNITS = ("seconds", "bytes", "ratio", "tokens", "rows")
"""Base units that a name may end with, and things that are counted."""
FOREIGN_UNITS = re.compile(r"_(ms|us|milliseconds|minutes|hours|kb|kib|mb|mib|gb|gib|percent|s)(_|$)")
LABELS = {
    "route": r"unmatched|/[a-z0-9_/{}.]*",
    "status": r"none|[1-5]\d\d",
    "call": "explain|solve|chat",
    "finish": "stop|length|abort",
    "source": "cached|computed",
    "role": "teacher|student",
    "kind": "warmup|rl|rlvr|collect|distill|evaluate|pipeline",
    "state": "queued|running|paused|succeeded|failed|cancelled",
    "queue": "train|generate|score|any",
    "folder": "home|artifacts",
    "base": "fake",
    "engine": "fake",
}
"""All labels, each with the values that code and settings give it; none comes from a caller."""
MOST_SERIES = 120
"""Of one metric, on a server that has answered every kind of call: routes times statuses are the most."""


@pytest.fixture(scope="module")
def families() -> list[Metric]:
    return metrics_page.told()


def test_every_name_follows_the_convention(families: list[Metric]) -> None:
    assert len(families) > 35
    for family in families:
        assert re.fullmatch(r"rlt_[a-z]+(_[a-z]+)*", family.name), family.name
        assert not FOREIGN_UNITS.search(family.name), f"{family.name} is not in a base unit"
        names = {sample.name for sample in family.samples}
        assert ("_total" in "".join(names)) == (family.type == "counter"), f"{family.name}: {names}"
        if family.type == "histogram":
            assert family.name.endswith("_seconds"), family.name
        said = family.documentation
        assert said.endswith("."), f"{family.name} is said in no sentence: {said!r}"
        if "Time" in said or said.startswith("From "):
            assert family.name.endswith("_seconds") or family.type == "counter", f"{family.name}: {said}"
        if any(word in said for word in ("Share", "Room left", "Size")):
            assert family.name.endswith(UNITS), f"{family.name}: {said}"


def test_no_label_has_values_that_a_caller_could_make(families: list[Metric]) -> None:
    for family in families:
        assert len(family.samples) <= MOST_SERIES * (16 if family.type == "histogram" else 1), family.name
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label != "le":
                    assert label in LABELS, f"{family.name} has a label that is not known to be bounded: {label}"
                    assert re.fullmatch(LABELS[label], value), f"{family.name}: {label}={value!r}"


def test_alerts_on_increases_find_their_series_before_the_first_event(families: list[Metric]) -> None:
    series = {(sample.name, *sorted(sample.labels.items())) for family in families for sample in family.samples}
    assert ("rlt_jobs_ended_total", ("kind", "rl"), ("state", "failed")) in series
    assert ("rlt_job_retries_total", ("kind", "rl")) in series
    assert ("rlt_job_claim_seconds_count", ("queue", "train")) in series
    assert ("rlt_promotion_lag_seconds_count", ("role", "teacher")) in series


def test_the_page_of_metrics_follows_from_what_a_server_tells(families: list[Metric]) -> None:
    assert metrics_page.PAGE.read_text(encoding="utf-8") == metrics_page.page(families), (
        "run `python -m tests.support.metrics_page`"
    )
