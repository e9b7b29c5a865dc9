"""What one key has measured is nothing that another can read, name or compare."""

from pathlib import Path

import pytest

from rlt_core.schemas.base import new_id, now_utc
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.measured import AnswerRow, ModelEvaluation
from rlt_service.store.measured import MeasuredStore
from tests.support.control import Control, control_app
from tests.support.keys import Headers, acting, make_key


def measure(control: Control, model: str, *, dataset: str = "ds_1") -> ModelEvaluation:
    """Store what a job has measured, past the trainer."""
    control.services.jobs.submit(EvaluateSpec(kind="evaluate", dataset="ds_" + "0" * 20, model=model, verdict="exact"))
    claimed = control.services.jobs.claim(queue="train", worker="test")
    assert claimed is not None
    job = claimed.job
    made = ModelEvaluation(
        id=new_id("eval"),
        created_at=now_utc(),
        job=job.id,
        role="student",
        model=model,
        dataset=dataset,
        dataset_sha256="ab",
        questions=2,
        samples=1,
        temperature=0.7,
        top_p=1.0,
        max_tokens=8,
        seed=0,
        verdict="exact",
        format="stratos@1",
        engine="fake",
        figures={},
    )
    rows = [
        AnswerRow(
            question_id=f"q{number}",
            question="?",
            answer="1",
            version=model,
            sample=0,
            thought="",
            solution="1",
            finish_reason="stop",
            tokens=3,
            right=bool(number),
            found="1",
            place="last_line",
            why="",
        )
        for number in range(2)
    ]
    [kept] = MeasuredStore(control.services.database).keep(job, [(made, rows)])
    control.services.jobs.finish(job.id, job.attempt, "succeeded")
    return kept


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
