"""docs/deployment.md names files, commands and variables that are there, and says what never ran."""

import re
from pathlib import Path

from tests.deploy.commands import is_command, unknown_variables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
NEVER = re.compile(r"never (built|started|installed|run)")


def test_every_file_that_is_named_is_there() -> None:
    named = re.findall(r"(?<![\w/])((?:docker|requirements|\.github|\.ci|benchmarks)/[\w./-]+\w)", PAGE)
    assert len(named) > 10
    for path in named:
        if path.startswith("docker/observe") and not (ROOT / "docker" / "observe").is_dir():
            continue
        assert (ROOT / path).exists() or path.startswith("docker/secrets"), path


def test_every_variable_is_a_setting_and_every_command_is_one() -> None:
    assert unknown_variables(PAGE) == set()
    commands = re.findall(
        r"(?:^|migrate |-- |`)(rlt (?:keys|backup|restore|up)(?: (?:create|list))?)", PAGE, re.MULTILINE
    )
    assert len(commands) >= 4
    assert all(is_command(command.split()) for command in commands)


def test_every_file_that_never_ran_says_so_at_its_head() -> None:
    heads = [
        *(ROOT / "docker").glob("Dockerfile.*"),
        *(ROOT / "docker").glob("compose.*.yml"),
        ROOT / "docker-compose.yml",
        ROOT / "docker" / "helm" / "rlt" / "Chart.yaml",
        *(ROOT / ".github" / "workflows").glob("*.yml"),
    ]
    assert len(heads) == 8
    for path in heads:
        head = "\n".join(path.read_text(encoding="utf-8").splitlines()[:2])
        assert NEVER.search(head), path.name
    assert "## What never ran" in PAGE
