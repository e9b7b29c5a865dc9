"""`rlt evaluations` and `rlt solve` against the real app on the fake engine."""

from collections.abc import Callable, Iterator

import pytest

from rlt_client.cli import main
from tests.support.app_transport import AppTransport
from tests.support.control import Control, control_app
from tests.support.measured import measure

Rlt = Callable[..., str]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture
def rlt(control: Control, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Rlt:
    """Run the command; gives what it printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["--base-url", "http://localhost", *arguments], transport=AppTransport(control.http))
        assert not ended.value.code, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_figures_answers_and_versions_side_by_side_are_shown(control: Control, rlt: Rlt) -> None:
    first, second = measure(control, "fake@0"), measure(control, control.version("pupil", role="student"))
    shown = rlt("evaluations", "show", first.id)
    assert "student fake@0 on ds_1: 2 questions x 1 at temperature 0.7, judged by exact" in shown
    assert [line.split() for line in shown.splitlines() if line.strip().startswith("pass@1")] == [
        ["pass@1", "0.5", "0", "to", "1"]
    ]
    answers = [line.split() for line in rlt("evaluations", "answers", first.id).splitlines()]
    assert [line[:3] for line in answers[1:3]] == [["q0", "0", "no"], ["q1", "0", "yes"]]
    compared = rlt("evaluations", "compare", first.id, second.id)
    assert "2 questions that all answered" in compared
    assert any(line.split()[:4] == ["fake@0", "pupil@1", "pass@1", "+0"] for line in compared.splitlines())


def test_a_student_solves_on_the_command_line(rlt: Rlt) -> None:
    shown = rlt("solve", "-q", "1 + 1?", "--seed", "3", "-n", "2")
    assert "[2/2]" in shown
    assert shown.count("The answer is") == 2
    assert "no solution, ended by length" in rlt("solve", "-q", "1 + 1?", "--max-tokens", "3")
