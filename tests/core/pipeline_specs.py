"""Pipelines that tests are about."""

from typing import Any

from rlt_core.schemas.pipelines import PipelineSpec

DATASET = "ds_" + "0" * 20
WARMUP: dict[str, Any] = {"kind": "warmup", "role": "teacher", "dataset": DATASET, "target_name": "algebra"}
RL: dict[str, Any] = {"kind": "rl", "dataset": DATASET, "target_name": "algebra"}
COLLECT: dict[str, Any] = {"kind": "collect", "dataset": DATASET}
DISTILL: dict[str, Any] = {"kind": "distill", "dataset": DATASET, "target_name": "pupil"}
EVALUATE: dict[str, Any] = {"kind": "evaluate", "dataset": DATASET, "verdict": "exact"}


def step(id_: str, spec: dict[str, Any], *after: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "after": list(after), "spec": spec | fields}


WHOLE = [
    step("warmup", WARMUP),
    step("rl", RL, teacher="$warmup.teacher"),
    step("collect", COLLECT, teacher="$rl.teacher"),
    step("distil", DISTILL, dataset="$collect.dataset"),
    step("measure", EVALUATE, models=["default", "$distil.student"]),
    step("judge", EVALUATE, role="teacher", model="$rl.teacher", verdict="math"),
]
"""warmup -> rl -> collect -> distil -> measure, and judge beside it."""
TAUGHT_BY_ITSELF: dict[str, Any] = {
    "rounds": 3,
    "start": {"teacher": "default", "student": "default"},
    "carry": {"teacher": "$distil.student", "student": "$distil.student"},
    "steps": [
        step("collect", COLLECT, teacher="$round.teacher", student="$round.student"),
        step("distil", DISTILL, dataset="$collect.dataset"),
    ],
}


def pipeline(steps: list[dict[str, Any]], **fields: Any) -> PipelineSpec:
    return PipelineSpec.model_validate({"kind": "pipeline", "steps": steps} | fields)
