"""What the demonstration says where it cannot keep its state: one sentence, before any time is spent."""

from pathlib import Path

import pytest
import typer

from rlt_client.demo.__main__ import run
from rlt_client.demo.server import ServerStartError, running_server
from rlt_client.demo.show import Screen
from rlt_service.launch.state_folder import StateFolder


@pytest.fixture(autouse=True)
def own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLT_BASE_URL", raising=False)


def refusal(capsys: pytest.CaptureFixture[str], *, home: Path, results: Path | None = None) -> str:
    with pytest.raises(typer.Exit) as caught:
        run(home=home, results=results)
    assert caught.value.exit_code == 1
    said = capsys.readouterr().out.strip()
    assert said.startswith("The demonstration stopped: ")
    return said


def test_a_file_in_the_place_of_the_state_folder_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").write_text("a file")
    said = refusal(capsys, home=tmp_path / "home")
    assert f"{tmp_path / 'home'} cannot be used (File exists)" in said
    assert "RLT_HOME=FOLDER" in said
    assert "\n" not in said


def test_a_state_folder_that_nobody_can_make_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "/proc/rlt-home cannot be used" in refusal(capsys, home=Path("/proc/rlt-home"))


@pytest.mark.parametrize("place", ["results", "results/demo"])
def test_results_that_could_not_be_written_are_said_before_the_server_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("a file")
    said = refusal(capsys, home=tmp_path / "home", results=tmp_path / "results")
    assert f"{tmp_path / 'results'}" in said
    assert "--results FOLDER" in said
    assert not (tmp_path / "home" / "logs").exists()


def test_a_file_in_the_place_of_the_logs_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").write_text("a file")
    assert f"{tmp_path / 'logs'} cannot be used" in refusal(capsys, home=tmp_path)


@pytest.mark.processes
def test_a_second_demonstration_leaves_the_log_of_the_first(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "demo-up.log"
    with StateFolder(tmp_path) as first:
        first.note(pid=4711, address="http://127.0.0.1:8400")
        log.write_text("the first one's words\n")
        with (
            pytest.raises(ServerStartError, match="already runs on the state folder") as caught,
            running_server(home=tmp_path, screen=Screen()),
        ):
            pass
    assert log.read_text().startswith("the first one's words\n")
    assert "the first one's words" not in str(caught.value)
