"""`rlt teachers` and `rlt students`: versions, where they come from, which one serves, two of them side by side."""

from collections.abc import Callable, Iterator

import pytest

from rlt_client.cli.exit_codes import ExitCode
from tests.cli.conftest import Ended, Rlt
from tests.support.control import Control
from tests.support.measured import measure

Good = Callable[..., Ended]


@pytest.fixture(scope="module")
def algebra(control: Control) -> str:
    return control.version("algebra")


@pytest.fixture(scope="module")
def pupil(control: Control) -> str:
    return control.version("pupil", role="student", seed=1)


@pytest.fixture
def promoted(algebra: str, good: Good) -> Iterator[str]:
    """Point an alias of its own at a version, and away again."""
    good("teachers", "promote", algebra, "--alias", "trial", "--reason", "a try")
    yield algebra
    good("teachers", "promote", "fake@0", "--alias", "trial")


def test_names_versions_and_one_version_are_shown(algebra: str, good: Good) -> None:
    head, *rows = good("teachers", "list").cells
    assert head == ["name", "newest", "versions"]
    assert ["algebra", algebra, "1"] in rows
    assert ["default -> fake@0"] in rows
    assert "algebra" in [one["name"] for one in good("teachers", "list", "--json").json["data"]]
    assert good("teachers", "versions", "algebra").cells[1][0] == algebra
    assert good("teachers", "versions", "algebra", "--json").json["data"][0]["version"] == algebra
    shown = good("teachers", "show", algebra).out
    assert ", rank 4" in shown
    assert "sha256: " in shown
    assert good("teachers", "show", algebra, "--json").json["role"] == "teacher"


def test_students_have_the_same_commands(pupil: str, good: Good) -> None:
    assert ["pupil", pupil, "1"] in good("students", "list").cells
    assert good("students", "show", pupil, "--json").json["version"] == pupil
    assert good("students", "lineage", pupil, "--json").json["version"] == pupil


def test_lineage_tells_who_promoted_it(promoted: str, good: Good) -> None:
    shown = good("teachers", "lineage", promoted).out
    assert "base: " in shown
    assert f"-> {promoted} by " in shown
    assert "a try" in shown
    assert good("teachers", "lineage", promoted, "--json").json["promotions"]


def test_an_alias_is_promoted_rolled_back_and_has_a_history(algebra: str, good: Good) -> None:
    assert good("teachers", "promote", "fake@0", "--alias", "canary").out == "canary: new -> fake@0\n"
    assert good("teachers", "promote", algebra, "--alias", "canary", "--json").json["version"] == algebra
    assert good("teachers", "rollback", "--alias", "canary").out == f"canary: {algebra} -> fake@0\n"
    head, *rows = good("teachers", "history", "--alias", "canary").cells
    assert head == ["since", "version", "before", "by", "reason", "evaluation"]
    assert [row[1] for row in rows] == ["fake@0", algebra, "fake@0"]
    assert len(good("teachers", "history", "--alias", "canary", "--json").json["data"]) == 3
    assert good("teachers", "rollback", "--alias", "canary", "--to", algebra, "--json").json["version"] == algebra
    good("teachers", "rollback", "--alias", "canary", "--to", "fake@0")


def test_an_alias_that_is_not_there_names_the_nearest(rlt: Rlt) -> None:
    ended = rlt("teachers", "rollback", "--alias", "defualt")
    assert ended.code == ExitCode.NOT_FOUND
    assert "Did you mean 'default'?" in ended.err
    error = rlt("teachers", "rollback", "--alias", "defualt", "--json").error
    assert (error["code"], error["exit_code"]) == ("alias_not_found", ExitCode.NOT_FOUND)
    assert rlt("teachers", "history", "--alias", "defualt").code == ExitCode.NOT_FOUND


def test_promotion_by_an_evaluation_that_is_not_better_is_refused(control: Control, algebra: str, rlt: Rlt) -> None:
    worse = control.evaluation(before="fake@0", after=algebra, gain=-1.0)
    error = rlt("teachers", "promote", algebra, "--evaluation", worse, "--json").error
    assert (error["code"], error["status"], error["exit_code"]) == ("not_better", 409, ExitCode.FAILED)
    assert "evaluation_required" not in error["message"]


def test_a_version_that_is_not_there_ends_with_3(rlt: Rlt) -> None:
    for call in ("show", "lineage", "promote", "delete"):
        assert rlt("teachers", call, "algebra@99").code == ExitCode.NOT_FOUND
    assert rlt("teachers", "versions", "nobody").code == ExitCode.NOT_FOUND
    assert "algebra@3" in rlt("teachers", "show", "algebra").err


def test_a_version_is_deleted_unless_it_is_in_use(
    control: Control, promoted: str, rlt: Rlt, good: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rlt("teachers", "delete", promoted).code == ExitCode.FAILED
    gone = control.version("short", seed=7)
    asked = list[str]()
    monkeypatch.setattr("typer.confirm", lambda text, **_: bool(asked.append(text)))
    assert rlt("teachers", "delete", gone, terminal=True).code == ExitCode.FAILED
    assert asked == [f"Delete {gone} for good?"]
    assert good("teachers", "delete", gone, "--yes", terminal=True).out.strip() == f"{gone} deleted"
    assert rlt("teachers", "show", gone).code == ExitCode.NOT_FOUND
    again = control.version("short", seed=8)
    assert good("teachers", "delete", again, "--json").json["version"] == again


def test_teachers_are_compared_on_a_question(algebra: str, good: Good, rlt: Rlt) -> None:
    call = ("teachers", "compare", "fake@0", algebra, "-q", "17 + 25?", "--max-tokens", "16")
    shown = good(*call, "-s", "42")
    rows = {row[0]: row for row in shown.cells if len(row) == 7}
    assert [*rows] == ["version", "fake@0", algebra]
    assert "scored by fake@0" in shown.out
    found = good(*call, "-s", "42", "--json").json
    assert [one["asked"] for one in found["data"]] == ["fake@0", algebra]
    assert [f"{one['score']['scores'][0]['reward']:.4f}" for one in found["data"]] == [
        rows[name][1] for name in ("fake@0", algebra)
    ]
    assert "--solution" in rlt(*call).err
    assert rlt("teachers", "compare", "fake@0").code == ExitCode.USAGE


def test_students_are_compared_on_a_question_and_by_their_evaluations(control: Control, pupil: str, good: Good) -> None:
    call = ("students", "compare", "fake@0", pupil, "-q", "17 + 25?", "--max-tokens", "16")
    assert pupil in good(*call).out
    assert [one["student"]["version"] for one in good(*call, "--json").json["data"]] == ["fake@0", pupil]
    for model in ("fake@0", pupil):
        measure(control, model, dataset="ds_compared")
    shown = good("students", "compare", "fake@0", pupil)
    assert "2 questions that all answered" in shown.out
    assert ["fake@0", pupil, "pass@1"] in [row[:3] for row in shown.cells]
    assert len(good("students", "compare", "fake@0", pupil, "--json").json["pairs"]) == 1
