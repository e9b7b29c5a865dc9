"""Own what an audit accepts: requirements/audit.toml as a value."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RULES = Path(__file__).parents[2] / "requirements" / "audit.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceRules:
    """Which licences a dependency may have."""

    allowed: frozenset[str]
    """SPDX names."""
    spelt: Mapping[str, str]
    """What packages write instead, and the SPDX name that is meant."""
    exceptions: Mapping[str, str]
    """Packages that may be there whatever they say, with the reason."""
    vendors: Mapping[str, str]
    """The same, by the beginning of a package's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an audit accepts, each with its reason."""

    licences: LicenceRules
    bandit_skipped: Mapping[str, str]
    bandit_accepted: Mapping[str, str]
    """By rule and file, with a space between."""
    secrets_accepted: Mapping[str, str]
    """By kind and file, with a space between."""


def read_rules(path: Path = RULES) -> Rules:
    """Read the file; raises KeyError where a table is missing."""
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    licences = found["licences"]
    return Rules(
        licences=LicenceRules(
            allowed=frozenset(licences["allowed"]),
            spelt=licences["spelt"],
            exceptions=licences["exceptions"],
            vendors=licences["vendors"],
        ),
        bandit_skipped=found["bandit"]["skip"],
        bandit_accepted=found["bandit"]["accepted"],
        secrets_accepted=found["secrets"]["accepted"],
    )
