"""Audit what the project is made of, write docs/results/supply-chain.json: `make audit`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.supply_chain import scans
from benchmarks.supply_chain.licences import Package, refused
from benchmarks.supply_chain.rules import Rules, read_rules
from rlt_client.demo import provenance

REQUIREMENTS = scans.ROOT / "requirements"
LOCKS = tuple(REQUIREMENTS / f"{name}.lock.txt" for name in ("cpu", "image-cpu", "image-gpu", "tools"))
IMAGES = tuple(lock for lock in LOCKS if lock.name.startswith("image-"))


def main(arguments: Sequence[str]) -> int:
    """Run every scan; 0 where nothing is refused, 1 else, 3 where advisories were not to be had and must be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.supply_chain", description=__doc__)
    parser.add_argument("--tools", type=Path, required=True, help="environment of requirements/tools.lock.txt")
    parser.add_argument("--sboms", type=Path, required=True, help="folder for the CycloneDX documents")
    parser.add_argument("--out", type=Path, required=True, help="file for the results")
    parser.add_argument(
        "--strict", action="store_true", help="fail where a package's advisories could not be asked for"
    )
    options = parser.parse_args(arguments)
    rules = read_rules()
    options.sboms.mkdir(parents=True, exist_ok=True)
    packages = scans.packages_of(options.tools, LOCKS)
    found: dict[str, Any] = {
        "commit": provenance.commit(),
        "date": provenance.date(),
        "machine": provenance.machine(),
        "command": "make audit",
        "licences": [{"name": one.name, "version": one.version, "licence": one.licence} for one in packages],
        "sboms": [
            scans.bill_of_materials(options.tools, lock, target=options.sboms / f"{lock.name[:-9]}.cdx.json")
            for lock in IMAGES
        ],
        "advisories": scans.advisories(options.tools, LOCKS),
        "bandit": scans.code_findings(options.tools, skipped=rules.bandit_skipped),
        "secrets": scans.secret_findings(options.tools),
    }
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    problems = problems_of(found, rules)
    unseen = found["advisories"]["not_looked_up"]
    for line in problems:
        _say(f"refused: {line}")
    if unseen:
        _say(f"NOT AUDITED: PyPI's advisories of {unseen} locked packages could not be asked for")
    _say(f"{len(packages)} packages, {len(problems)} refused; written: {options.out}, {options.sboms}")
    return 1 if problems else 3 if unseen and options.strict else 0


def problems_of(found: dict[str, Any], rules: Rules) -> list[str]:
    """Say what an audit found that the rules do not accept."""
    packages = [Package(**entry) for entry in found["licences"]]
    return [
        *(f"licence: {line}" for line in refused(packages, rules.licences)),
        *(f"vulnerable: {line}" for line in found["advisories"]["found"]),
        *(f"bandit: {line}" for line in found["bandit"] if line not in rules.bandit_accepted),
        *(f"secret: {line}" for line in found["secrets"] if line not in rules.secrets_accepted),
    ]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except scans.ToolError as error:
        sys.exit(f"error: {error}")
