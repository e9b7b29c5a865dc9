"""What one key has measured is nothing that another can read, name or compare."""

from pathlib import Path

import pytest

from rlt_core.schemas.measured import ModelEvaluation
from tests.support.control import Control, control_app
from tests.support.keys import Headers, acting, make_key
from tests.support.measured import measure


def statuses(control: Control, made: list[ModelEvaluation], headers: Headers) -> list[int]:
    ids = [one.id for one in made]
    paths = [f"/v1/evaluations/{ids[0]}", f"/v1/evaluations/{ids[0]}/rows"]
    paths += [f"/v1/evaluations?compare={','.join(names)}" for names in (ids, [one.model for one in made])]
    return [control.http.get(path, headers=headers).status_code for path in paths]


def test_an_evaluation_is_its_makers_own(tmp_path: Path) -> None:
    with control_app(tmp_path) as control:
        mine, theirs, admin = (make_key(control, scope) for scope in ("train", "train", "admin"))
        with acting(mine):
            made = [measure(control, "fake@0"), measure(control, control.version("pupil", role="student"))]
        assert statuses(control, made, mine) == [200] * 4
        assert statuses(control, made, admin) == [200] * 4
        assert statuses(control, made, theirs) == [404] * 4


@pytest.mark.parametrize("differ", [True, False])
def test_the_newest_evaluation_of_a_version_stands_for_it(tmp_path: Path, differ: bool) -> None:
    with control_app(tmp_path) as control:
        first, other = measure(control, "fake@0"), measure(control, control.version("pupil", role="student"))
        newest = measure(control, "fake@0", dataset="ds_2" if differ else "ds_1")
        found = control.http.get(f"/v1/evaluations?compare=fake@0,{other.id}").json()
        assert [one["id"] for one in found["evaluations"]] == [newest.id, other.id]
        assert first.id != newest.id
