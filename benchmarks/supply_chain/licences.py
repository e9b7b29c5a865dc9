"""Own what a licence in a package's metadata means, and whether it may be there. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.supply_chain.rules import LicenceRules

NOT_ONE = ("OSI Approved", "DFSG approved")
"""Classifiers that stand where a licence would, and are none."""
_NAMED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Package:
    """One locked package and what its metadata says."""

    name: str
    version: str
    licence: str
    """Empty where it says nothing."""


def canonical(name: str) -> str:
    """Write a package's name as an index does."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: str) -> list[tuple[str, str]]:
    """List name and version of each package in the text of a lock file; one may stand there twice, for two Pythons."""
    found = (_NAMED.match(line) for line in lock.splitlines())
    return sorted({(canonical(match[1]), match[2]) for match in found if match is not None})


def package_of(metadata: Mapping[str, Any]) -> Package:
    """Read the metadata of a package: its SPDX expression, else its classifiers, else the first line of its licence."""
    classifiers = [part.split(" :: ")[-1] for part in metadata.get("classifier", []) if part.startswith("License ::")]
    said = metadata.get("license_expression") or "; ".join(part for part in classifiers if part not in NOT_ONE)
    text = str(metadata.get("license") or "").strip().split("\n")[0]
    return Package(name=canonical(metadata["name"]), version=metadata["version"], licence=said or text)


def is_allowed(licence: str, rules: LicenceRules) -> bool:
    """Tell whether one of an expression's choices is allowed in all its parts; brackets are not understood."""
    if licence in rules.spelt:
        return rules.spelt[licence] in rules.allowed
    choices = [re.split(r" AND |; ", choice) for choice in licence.split(" OR ")]
    return any(all(rules.spelt.get(part, part) in rules.allowed for part in choice) for choice in choices)


def excepted(name: str, rules: LicenceRules) -> bool:
    """Tell whether a package stands among the exceptions."""
    return name in rules.exceptions or any(name.startswith(beginning) for beginning in rules.vendors)


def refused(packages: Iterable[Package], rules: LicenceRules) -> list[str]:
    """Say of each package that may not be there why."""
    return [
        f"{package.name} {package.version}: {package.licence or 'no licence in its metadata'}"
        for package in packages
        if not is_allowed(package.licence, rules) and not excepted(package.name, rules)
    ]
