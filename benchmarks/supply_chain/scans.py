"""Own the calls of the tools in .tools: metadata of locked packages, bills of materials, advisories, code, secrets."""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.supply_chain.licences import Package, locked, package_of

ROOT = Path(__file__).parents[2]
CODE = ("rlt_core", "rlt_tokens", "rlt_train", "clients", "services", "docker")
PATIENCE_S = 900.0


class ToolError(Exception):
    """A tool did not do its work; the message is its last words."""


def packages_of(tools: Path, locks: Sequence[Path]) -> list[Package]:
    """Ask pip for the metadata of every locked package, without installing one."""
    options = ["--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--ignore-requires-python"]
    found: list[Package] = []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        for asked in _asked(locks, Path(folder)):
            _run(tools, "pip", "install", *options, "--report", str(report), "--requirement", str(asked))
            installs = json.loads(report.read_text(encoding="utf-8"))["install"]
            found += [package_of(entry["metadata"]) for entry in installs]
    return sorted(found)


def bill_of_materials(tools: Path, lock: Path, *, target: Path) -> dict[str, Any]:
    """Write a CycloneDX document of a lock file; the same lock gives the same bytes. Gives name, parts and SHA-256."""
    options = ["--output-reproducible", "--output-format", "JSON", "--output-file", str(target)]
    _run(tools, "cyclonedx-py", "requirements", *options, str(lock))
    content = target.read_bytes()
    parts = len(json.loads(content)["components"])
    return {"lock": lock.name, "components": parts, "sha256": hashlib.sha256(content).hexdigest()}


def advisories(tools: Path, locks: Sequence[Path]) -> dict[str, Any]:
    """Ask PyPI for known vulnerabilities of locked packages: how many were looked up, how many not, what was found."""
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for asked in _asked(locks, Path(folder)):
            said = _run(tools, "pip-audit", *options, "--requirement", str(asked), good=(0, 1))
            try:
                found += json.loads(said)["dependencies"]
            except ValueError as error:
                raise ToolError(f"pip-audit gave no answer: {said[-300:]}") from error
    skipped = [entry["name"] for entry in found if "skip_reason" in entry]
    vulnerable = [
        f"{entry['name']} {entry['version']}: {', '.join(one['id'] for one in entry['vulns'])}"
        for entry in found
        if entry.get("vulns")
    ]
    return {"looked_up": len(found) - len(skipped), "not_looked_up": len(skipped), "found": vulnerable}


def code_findings(tools: Path, *, skipped: Mapping[str, str]) -> list[str]:
    """Run bandit over the code: each finding as rule and file."""
    options = ["--quiet", "--recursive", "--format", "json", "--skip", ",".join(sorted(skipped))]
    said = json.loads(_run(tools, "bandit", *options, *CODE, good=(0, 1)))
    return sorted({f"{entry['test_id']} {entry['filename'].removeprefix('./')}" for entry in said["results"]})


def secret_findings(tools: Path) -> list[str]:
    """Look for secrets in every committed file but locks and results: each finding as kind and file."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in listed.split("\0") if name and not name.endswith(".lock.txt")]
    files = [name for name in files if not name.startswith("docs/results/")]
    said = json.loads(_run(tools, "detect-secrets", "scan", *files))
    return sorted({f"{entry['type']} {name}" for name, entries in said["results"].items() for entry in entries})


def _asked(locks: Sequence[Path], folder: Path) -> Iterator[Path]:
    """Write the locked packages as requirements: a package that is locked in two versions stands in two files."""
    versions: dict[str, list[str]] = {}
    for name, version in sorted({pair for lock in locks for pair in locked(lock.read_text(encoding="utf-8"))}):
        versions.setdefault(name, []).append(version)
    for place in range(max(map(len, versions.values()))):
        lines = [f"{name}=={found[place]}" for name, found in versions.items() if place < len(found)]
        asked = folder / f"asked-{place}.txt"
        asked.write_text("\n".join(lines), encoding="utf-8")
        yield asked


def _run(tools: Path, tool: str, *arguments: str, good: Sequence[int] = (0,)) -> str:
    command = [str((tools / "bin" / tool).absolute()), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    if done.returncode not in good:
        raise ToolError(f"{tool} ended with {done.returncode}: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout
