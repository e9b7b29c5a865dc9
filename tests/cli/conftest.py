"""The command in process on the real app (fake engine): what it printed where, and how it ended."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from rlt_client.cli import main
from rlt_core.schemas.jobs import Progress
from tests.support.app_transport import AppTransport
from tests.support.control import Control, control_app

FORCED = ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "RLT_BASE_URL", "RLT_API_KEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call of the command that is over."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Read standard output as the one document that it must be."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Read standard output as lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """Read standard error as the one line of JSON that it must be."""
        [line] = self.err.splitlines()
        return json.loads(line)["error"]

    @property
    def cells(self) -> list[list[str]]:
        """Read standard output as rows of a table in a pipe."""
        return [line.split("\t") for line in self.out.splitlines()]


Rlt = Callable[..., Ended]


@pytest.fixture(scope="session")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("cli")) as made:
        yield made


@pytest.fixture
def rlt(control: Control, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Rlt:
    """Run the command as in a pipe; `terminal` as on one of 80 columns."""
    for name in FORCED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")

    def run(*arguments: str, terminal: bool = False) -> Ended:
        capsys.readouterr()
        with monkeypatch.context() as patched:
            if terminal:
                patched.setenv("FORCE_COLOR", "1")
            with pytest.raises(SystemExit) as ended:
                main(["--base-url", "http://localhost", *arguments], transport=AppTransport(control.http))
        printed = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Ended(code=code or 0, out=printed.out, err=printed.err)

    return run


@pytest.fixture
def good(rlt: Rlt) -> Callable[..., Ended]:
    """Run the command, which must do what it was told."""

    def run(*arguments: str, terminal: bool = False) -> Ended:
        ended = rlt(*arguments, terminal=terminal)
        assert ended.code == 0, ended.err
        return ended

    return run


@pytest.fixture
def reported(control: Control) -> Iterator[str]:
    """Run a job that has told of three steps and two samples, and written a log."""
    job = control.running_job(name="reported")
    for step in range(1, 4):
        found = {"reward": step / 10 - 1.0, "r_kl": 0.5}
        control.services.jobs.save_progress(job.id, 1, Progress(step=step, total=4, eta_s=90.0, metrics=found))
    for step in (1, 2):
        data = {"step": step, "question": f"{step} + 1?", "text": "One [more].", "reward": -0.25, "well_formed": False}
        control.services.jobs.append_event(job.id, 1, "sample", data)
    folder = control.services.artifacts.make_dir(control.services.artifacts.attempt_dir(job.id, 1))
    (folder / "trainer.log").write_text("first [line]\nsecond é\n", encoding="utf-8")
    yield job.id
    if control.services.jobs.get(job.id).status == "running":
        control.services.jobs.finish(job.id, 1, "succeeded")
