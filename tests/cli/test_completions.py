"""What shells get at the tab key: commands, options, choices, and ids that the server knows."""

import shutil
import subprocess
from collections.abc import Callable

import pytest

from rlt_client.cli import main
from rlt_core.schemas.base import now_utc
from tests.support.app_transport import AppTransport
from tests.support.control import Control

Tab = Callable[..., list[str]]
SHELLS = ("bash", "zsh", "fish")


@pytest.fixture
def tab(control: Control, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tab:
    """Ask as a shell does when the tab key was pressed behind a line; gives the lines that it would read."""

    def press(line: str, *, shell: str = "bash", base_url: str = "http://localhost", real: bool = False) -> list[str]:
        monkeypatch.setenv("_RLT_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("RLT_BASE_URL", base_url)
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        with pytest.raises(SystemExit) as ended:
            main([], transport=None if real else AppTransport(control.http))
        printed = capsys.readouterr()
        assert (ended.value.code or 0, printed.err) == (0, "")
        return [line for line in printed.out.splitlines() if line]

    return press


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_that_it_can_read(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_RLT_COMPLETE", f"source_{shell}")
    with pytest.raises(SystemExit):
        main([])
    script = capsys.readouterr().out
    assert "_RLT_COMPLETE" in script
    if shutil.which(shell):
        read = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=60, check=False)
        assert (read.returncode, read.stderr) == (0, "")


def test_commands_options_and_choices_are_offered(tab: Tab) -> None:
    assert tab("rlt da") == ["datasets"]
    assert tab("rlt jobs sh") == ["show"]
    assert tab("rlt jobs list --sta") == ["--status"]
    assert tab("rlt jobs list --status ru") == ["running"]
    assert tab("rlt train rl --lora.ra") == ["--lora.rank"]


@pytest.mark.parametrize("shell", SHELLS)
def test_ids_of_jobs_are_offered_in_each_shell(control: Control, tab: Tab, shell: str) -> None:
    job = control.job().id
    assert any(job in line for line in tab(f"rlt jobs show {job[:8]}", shell=shell))
    assert not any(job in line for line in tab("rlt jobs show job_none", shell=shell))
    control.services.jobs.cancel(job)


def test_ids_of_datasets_and_names_of_versions_are_offered(control: Control, tab: Tab) -> None:
    dataset = control.upload()
    assert dataset in tab("rlt datasets show ds_")
    assert dataset in tab("rlt train rl --dataset ds_")
    assert "fake@0" in tab("rlt explain --teacher fa")
    assert "fake@0" in tab("rlt teachers show ")


def test_no_server_is_no_offer_and_no_error_and_no_long_wait(tab: Tab) -> None:
    began = now_utc()
    assert tab("rlt jobs show job_", base_url="http://127.0.0.1:9", real=True) == []
    assert (now_utc() - began).total_seconds() < 10
