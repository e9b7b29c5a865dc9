"""Every block that the documentation shows is run as it stands, on the fake engine; so is each script of examples/."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rlt_core.schemas.jobs import SUBMITTED_SPEC
from tests.docs.plant import DOCUMENTED, TIMEOUT_S, Plant, lay_files
from tests.docs.snippets import ROOT, Snippet, pages, snippets_of

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
EVERY = [snippet for page in pages() for snippet in snippets_of(page)]
RUN = [snippet for snippet in EVERY if snippet.why_not_run is None]
NOT_RUN = [snippet for snippet in EVERY if snippet.why_not_run is not None]
MOST_NOT_RUN = 13
"""So many blocks cannot be run here. One more needs a reason that a reviewer believes, and this number raised."""
RUN_ON_ITS_OWN_SERVER = ROOT / "docs" / "sdk.md"
"""By test_sdk_snippets.py: jobs of that page must stay queued, so no worker may take them."""
WITH_COMMANDS = sorted(
    {snippet.page for snippet in RUN if snippet.language in ("bash", "python")} - {RUN_ON_ITS_OWN_SERVER}
)
COMMAND = re.compile(r"^(?:\$ )?(?:curl|rlt|make|pip|python3?|git|docker|export|create\w+)\b", re.MULTILINE)


def in_language(*languages: str) -> list[Snippet]:
    return [snippet for snippet in RUN if snippet.language in languages]


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    assert len(NOT_RUN) <= MOST_NOT_RUN, [snippet.place for snippet in NOT_RUN]
    assert [snippet.place for snippet in NOT_RUN if len(snippet.why_not_run or "") < 11] == []


def test_a_block_of_commands_says_its_language_so_that_it_is_run() -> None:
    # What holds [OPTIONS] is a synopsis, not a command.
    untold = [snippet for snippet in in_language("", "text") if "[OPTIONS]" not in snippet.text]
    assert [snippet.place for snippet in untold if COMMAND.search(snippet.text)] == []
    assert {snippet.language for snippet in EVERY}.isdisjoint(("sh", "shell", "console", "zsh", "py", "python3"))


def test_readme_has_curl_for_each_of_the_three_calls() -> None:
    text = "".join(snippet.text for snippet in in_language("bash") if snippet.page.name == "README.md")
    assert all(f"{DOCUMENTED}/{call}" in text for call in ("explain", "score", "train"))


@pytest.mark.parametrize("snippet", in_language("json"), ids=lambda snippet: snippet.place)
def test_a_spec_that_a_page_shows_is_one(snippet: Snippet) -> None:
    found = json.loads(snippet.text)
    if "kind" in found:
        SUBMITTED_SPEC.validate_python(found)


@pytest.mark.processes
@pytest.mark.timeout(300)  # a page of many commands takes 10 s, on a machine that is busy with other things far longer
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page: Path, plant: Plant, tmp_path: Path) -> None:
    lay_files(tmp_path)
    for snippet in in_language("bash"):
        if snippet.page == page:
            plant.run_shell(snippet, folder=tmp_path)
    python = [snippet for snippet in in_language("python") if snippet.page == page]
    if python:
        plant.run_python(python, folder=tmp_path)


def test_examples_are_short() -> None:
    assert len(EXAMPLES) >= 3
    assert [one.name for one in EXAMPLES if len(one.read_text(encoding="utf-8").splitlines()) > 80] == []


@pytest.mark.processes
@pytest.mark.timeout(300)  # a page of many commands takes 10 s, on a machine that is busy with other things far longer
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_an_example_runs_and_says_something(script: Path, plant: Plant) -> None:
    found = subprocess.run(
        [sys.executable, str(script)],
        env=plant.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.splitlines()) >= 2


def test_a_collector_sees_reasons_and_lines_and_an_open_block() -> None:
    page = ROOT / "docs" / "made-up.md"
    text = "# A\n\n```bash\nls\n```\n<!-- not run: needs a GPU -->\n```python\nx = 1\n```\n```\nplain\n```\n"
    found = [(one.line, one.language, one.text, one.why_not_run) for one in snippets_of(page, text)]
    reason = "needs a GPU"
    assert found == [(4, "bash", "ls\n", None), (8, "python", "x = 1\n", reason), (11, "", "plain\n", None)]
    with pytest.raises(ValueError, match="never closed"):
        snippets_of(page, "```bash\nls\n")
