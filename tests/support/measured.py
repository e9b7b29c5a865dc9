"""Lay what an evaluate job has measured into a store, past the trainer."""

from rlt_core.measures import figures_of, values_of
from rlt_core.schemas.base import new_id, now_utc
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import JobResult
from rlt_core.schemas.measured import AnswerRow, ModelEvaluation
from rlt_service.store.measured import MeasuredStore
from tests.support.control import Control


def measure(control: Control, model: str, *, dataset: str = "ds_1") -> ModelEvaluation:
    """Store two answers of a model, the second right, as a job of its own."""
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
    made = made.model_copy(update={"figures": figures_of(values_of(rows))})
    [kept] = MeasuredStore(control.services.database).keep(job, [(made, rows)])
    result = JobResult(evaluation=kept.id, evaluations=[kept.id])
    control.services.jobs.finish(job.id, job.attempt, "succeeded", result=result)
    return kept
