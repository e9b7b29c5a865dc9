"""Workflows call what the Makefile and .ci have, with actions pinned by commit and no more rights than they need."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github"
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yml"))


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(request.param.read_text(encoding="utf-8"))
    return found


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_actions_are_pinned_by_commit(workflow: dict[str, Any]) -> None:
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in used)


def test_jobs_have_an_end_and_no_rights_but_those_named(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] > 0 for job in workflow["jobs"].values())


def test_goals_scripts_and_paths_are_there(workflow: dict[str, Any]) -> None:
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    ran = "\n".join(step["run"] for step in steps(workflow) if "run" in step)
    for words in re.findall(r"^make (.*)$", ran, re.MULTILINE):
        assert {word for word in words.split() if "=" not in word} <= goals
    for script in re.findall(r"bash (\S+)", ran):
        assert (ROOT / script).is_file()
    for pattern in re.findall(r"docker/Dockerfile\.(?:\$\{\{ matrix\.kind \}\}|\$KIND)", ran):
        for kind in ("cpu", "gpu"):
            assert (ROOT / re.sub(r"\$\{\{ matrix\.kind \}\}|\$KIND", kind, pattern)).is_file()


def test_a_submission_passes_what_any_machine_asks_for_and_a_release_too() -> None:
    for path in WORKFLOWS:
        assert "run: bash .ci/run" in path.read_text(encoding="utf-8")


def test_updates_are_proposed_for_everything_that_is_pinned() -> None:
    found = yaml.safe_load((FOLDER / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    places = {(entry["package-ecosystem"], entry["directory"]) for entry in found}
    assert places == {("pip", "/"), ("docker", "/docker"), ("docker-compose", "/"), ("github-actions", "/")}
    assert all((ROOT / folder.lstrip("/")).is_dir() for _, folder in places)


@pytest.mark.parametrize(
    ("schema", "file"),
    [("github-workflows", path.relative_to(ROOT)) for path in WORKFLOWS]
    + [("dependabot", Path(".github/dependabot.yml"))],
    ids=str,
)
def test_files_keep_to_their_schemas(schema: str, file: Path, tools: Path) -> None:
    command = [tools / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", ROOT / file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_workflows_have_none_of_the_known_holes(tools: Path) -> None:
    command = [tools / "zizmor", "--offline", "--no-progress", FOLDER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
