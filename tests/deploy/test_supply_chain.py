"""What `make audit` accepts, and that its committed results are of the locks that are there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.supply_chain.__main__ import IMAGES, LOCKS, problems_of
from benchmarks.supply_chain.licences import Package, is_allowed, locked, package_of, refused
from benchmarks.supply_chain.rules import read_rules

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results" / "supply-chain.json"
RULES = read_rules()
NOTHING: dict[str, Any] = {"licences": [], "advisories": {"found": []}, "bandit": [], "secrets": []}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return results


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MIT License; Apache Software License", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only", False),
        ("MIT AND AGPL-3.0-only", False),
        ("MIT License; GNU General Public License v3 (GPLv3)", False),
        ("Other/Proprietary License", False),
        ("", False),
    ],
)
def test_a_licence_is_allowed_where_one_choice_of_it_is_in_all_parts(licence: str, *, allowed: bool) -> None:
    assert is_allowed(licence, RULES.licences) is allowed


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ({"license_expression": "MIT", "classifier": ["License :: OSI Approved :: BSD License"]}, "MIT"),
        ({"classifier": ["License :: OSI Approved", "License :: OSI Approved :: BSD License"]}, "BSD License"),
        ({"license": "Apache 2.0\nand its whole text"}, "Apache 2.0"),
        ({}, ""),
    ],
)
def test_a_licence_is_read_from_where_a_package_says_it(metadata: dict[str, Any], licence: str) -> None:
    assert package_of({"name": "Some.Package", "version": "1", **metadata}) == Package(
        name="some-package", version="1", licence=licence
    )


def test_a_package_of_a_refused_licence_is_named_and_an_exception_is_not() -> None:
    one = Package(name="one", version="1", licence="AGPL-3.0-only")
    assert refused([one, replace(one, name="psycopg"), replace(one, name="nvidia-x")], RULES.licences) == [
        "one 1: AGPL-3.0-only"
    ]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"bandit": ["B602 rlt_core/new.py"]}, "bandit: B602 rlt_core/new.py"),
        ({"secrets": ["AWS Access Key README.md"]}, "secret: AWS Access Key README.md"),
        ({"advisories": {"found": ["jinja2 3.1.5: X-1"]}}, "vulnerable: jinja2 3.1.5: X-1"),
    ],
)
def test_what_nobody_has_accepted_is_a_problem(more: dict[str, Any], problem: str) -> None:
    assert problems_of({**NOTHING, **more}, RULES) == [problem]


def test_the_committed_audit_found_nothing_that_is_not_accepted(found: dict[str, Any]) -> None:
    assert problems_of(found, RULES) == []
    assert {"commit", "date", "machine", "command"} <= set(found)


def test_the_committed_audit_is_of_all_that_is_locked(found: dict[str, Any]) -> None:
    wanted = {name for lock in LOCKS for name, _ in locked(lock.read_text(encoding="utf-8"))}
    assert {entry["name"] for entry in found["licences"]} == wanted, "run `make audit`"


def test_every_exception_is_needed(found: dict[str, Any]) -> None:
    names = {entry["name"] for entry in found["licences"]}
    assert set(RULES.licences.exceptions) <= names
    assert {
        beginning for beginning in RULES.licences.vendors if any(name.startswith(beginning) for name in names)
    } == set(RULES.licences.vendors)
    assert set(RULES.bandit_accepted) <= set(found["bandit"])
    assert set(RULES.secrets_accepted) <= set(found["secrets"])


def test_there_is_a_bill_of_materials_of_each_image(found: dict[str, Any]) -> None:
    assert {entry["lock"]: entry["components"] for entry in found["sboms"]} == {
        lock.name: len(locked(lock.read_text(encoding="utf-8"))) for lock in IMAGES
    }
