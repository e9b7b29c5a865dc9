"""One `rlt up` on the fake engine for everything that the documentation shows, with what its pages take for granted."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rlt_client import Client
from tests.docs.snippets import Snippet
from tests.engine.adapter_files import write_adapter
from tests.jobs.site import stub_environment
from tests.support.server import running_up

DOCUMENTED = "http://127.0.0.1:8400"
TEACHERS, STUDENTS = 4, 2
"""Versions of `algebra` and of `pupil` that pages name."""
TIMEOUT_S = 240.0
ROWS: list[dict[str, Any]] = [
    {
        "id": f"sum-{left}-{right}",
        "question": f"What is {left} + {right}?",
        "solution": f"The answer is {left + right}.",
        "reasoning_trace": f"{left} + {right} = {left + right}.",
        "answer": str(left + right),
        "nums": [left, right],
        "target": left + right,
    }
    for left in range(2, 5)
    for right in range(6, 9)
]
"""What every page's dataset holds: enough columns for each kind of job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A server that runs, and what stands for the names of the pages."""

    base_url: str
    home: Path
    names: Mapping[str, str]
    """By what a page writes: `ds_…`, `job_…`, the documented address."""

    @property
    def environment(self) -> dict[str, str]:
        """Give the surroundings of a reader's shell."""
        return {**os.environ, "RLT_BASE_URL": self.base_url, "RLT_HOME": str(self.home), "NO_COLOR": "1"}

    def filled_in(self, text: str) -> str:
        """Put this server's names in the place of the pages'."""
        for shown, real in self.names.items():
            text = text.replace(shown, real)
        return text

    def run_shell(self, snippet: Snippet, *, folder: Path) -> None:
        """Run a block of commands as they stand; raises AssertionError where one fails."""
        command = f'rlt() {{ "{sys.executable}" -m rlt_client "$@"; }}\npython() {{ "{sys.executable}" "$@"; }}\n'
        text = re.sub(r"\bcurl -s(N?) ", r"curl -sS\1 --fail-with-body ", self.filled_in(snippet.text))
        apart = {"RLT_HOME": str(folder / "apart")} if snippet.why_apart is not None else {}
        script = f"set -euo pipefail\n{command}{text}"
        self._run(["bash", "-c", script], folder=folder, place=snippet.place, apart=apart)

    def run_python(self, snippets: Sequence[Snippet], *, folder: Path) -> None:
        """Run a page's blocks as one script, which has `client`; lines of a traceback are the page's."""
        lines = ["from rlt_client import Client; client = Client()"]
        for snippet in snippets:
            lines += [""] * (snippet.line - 1 - len(lines)) + self.filled_in(snippet.text).splitlines()
        script = folder / f"{snippets[0].page.stem}.py"
        script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._run([sys.executable, str(script)], folder=folder, place=snippets[0].place)

    def _run(
        self, command: Sequence[str], *, folder: Path, place: str, apart: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        environment = {**self.environment, **apart}
        found = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert found.returncode == 0, f"{place}\n{found.stdout}\n{found.stderr}"


@contextlib.contextmanager
def running_plant(folder: Path) -> Generator[Plant]:
    """Start it, and lay down a dataset, versions and a job that has ended."""
    home = folder / "home"
    trainer = [sys.executable, str(Path(__file__).with_name("trainer.py"))]
    environment = stub_environment(folder) | {"RLT_TRAINER_COMMAND": json.dumps(trainer)}
    with running_up(home, environment=environment) as up, Client(up.base_url) as client:
        dataset = client.datasets.create(ROWS, name="sums").id
        for number in range(1, TEACHERS + 1):
            client.teachers.register("algebra", folder=_adapter(home, f"algebra-{number}"))
        for number in range(1, STUDENTS + 1):
            client.students.register("pupil", folder=_adapter(home, f"pupil-{number}"))
        job = client.train({"kind": "warmup", "role": "teacher", "dataset": dataset, "target_name": "warm"})
        assert client.jobs.wait(job.id, poll_s=0.2).status == "succeeded"
        names = {"ds_…": dataset, "job_…": job.id, DOCUMENTED: up.base_url, "/backups": str(folder)}
        yield Plant(base_url=up.base_url, home=home, names=names)


def lay_files(folder: Path) -> None:
    """Lay down the files that pages name: rows of one's own, and a benchmark's."""
    own = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "rows.jsonl").write_text(own, encoding="utf-8")
    gsm8k = [{"question": row["question"], "answer": f"{row['reasoning_trace']}\n#### {row['answer']}"} for row in ROWS]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gsm8k), encoding="utf-8")


def _adapter(home: Path, name: str) -> str:
    folder = home / "artifacts" / "imports" / name
    write_adapter(folder, layers=1, config={"base_model_name_or_path": "fake"})
    return name
