"""The rows of the table of bad inputs that a pipeline is: a collect, and a distill on what it has collected."""

from typing import Any

from tests.support.bad_input_kinds import (
    COLLECT,
    DISTILL,
    EVALUATE,
    NO_DATASET,
    NO_JOB,
    NOT_YET,
    RL,
    WARMUP,
    pipeline,
)

NOT_FOUND: dict[str, Any] = {"status_": 404, "code": "not_found"}
NO_MODEL: dict[str, Any] = {"status_": 404, "code": "model_not_found"}


def step(id_: str, spec: dict[str, Any], *after: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "after": list(after), "spec": spec | fields}


RING = [step("a", RL, teacher="$b.teacher"), step("b", RL, teacher="$a.teacher")]
PUPIL = step("pupil", DISTILL)
LOOP: dict[str, Any] = {"steps": [step("a", COLLECT, teacher="$round.t")], "rounds": 2}

PIPELINES = (
    pipeline("a pipeline without steps", "/steps", "at least 1", steps=[]),
    pipeline("33 steps", "/steps", "at most 32", steps=[step(f"s{place}", COLLECT) for place in range(33)]),
    pipeline("101 rounds", "/rounds", "100", rounds=101),
    pipeline("a step's name with a capital", "/steps/0/id", "pattern", steps=[step("Collect", COLLECT)]),
    pipeline("a step called round", "/steps/0/id", "goes from round", steps=[step("round", COLLECT)]),
    pipeline("two steps of one name", "/steps/1/id", "two steps", steps=[step("a", COLLECT), step("a", COLLECT)]),
    pipeline("a step of no kind", "/steps/0/spec", "kind", steps=[step("a", {"dataset": "$dataset"})]),
    pipeline("a pipeline in a pipeline", "/steps/0/spec", "tag", steps=[step("a", {"kind": "pipeline", "steps": []})]),
    pipeline("a mistyped field of a step", "/steps/1/spec/epoch", "epochs", code="unknown_field", more={"epoch": 2}),
    pipeline("a step after nobody", "/steps/0/after/0", "there is no step b", steps=[step("a", COLLECT, "b")]),
    pipeline("a step after itself", "/steps/0/after/0", "after itself", steps=[step("a", COLLECT, "a")]),
    pipeline("steps that wait for each other", "/steps/0", "a -> b", steps=RING),
    pipeline(
        "a reference to nobody", "/steps/1/spec/dataset", "did you mean collect", more={"dataset": "$colect.dataset"}
    ),
    pipeline(
        "a reference to what is not made",
        "/steps/1/spec/dataset",
        "makes a dataset",
        more={"dataset": "$collect.student"},
    ),
    pipeline("a reference without an output", "/steps/1/spec/dataset", "no reference", more={"dataset": "$collect"}),
    pipeline(
        "a dataset for a version",
        "/steps/1/spec/splits/gate",
        "takes a dataset",
        steps=[step("a", WARMUP), step("b", RL, splits={"gate": "$a.teacher"})],
    ),
    pipeline(
        "a reference where none can be",
        "/steps/1/spec/student_base",
        "takes no reference",
        more={"student_base": "$collect.dataset"},
    ),
    pipeline("a round that begins with nothing", "/steps/0/spec/teacher", "start gives no t", steps=LOOP["steps"]),
    pipeline("a round that goes on with nothing", "/carry", "from the second on", start={"t": "default"}, **LOOP),
    pipeline(
        "a start that refers",
        "/start/t",
        "name a version",
        start={"t": "$a.dataset"},
        carry={"t": "$a.dataset"},
        **LOOP,
    ),
    pipeline(
        "a dataset carried to a teacher",
        "/steps/0/spec/teacher",
        "takes a version",
        start={"t": "default"},
        carry={"t": "$a.dataset"},
        **LOOP,
    ),
    pipeline(
        "a step's dataset that is not there",
        "/steps/0/spec/dataset",
        "no dataset",
        steps=[step("a", COLLECT, dataset=NO_DATASET)],
        **NOT_FOUND,
    ),
    pipeline(
        "a start with nobody",
        "/steps/0/spec/teacher",
        "no teacher",
        steps=LOOP["steps"],
        start={"t": "nobody"},
        **NO_MODEL,
    ),
    pipeline(
        "rows without answers for a student to come",
        "/steps/1/spec/dataset",
        "cannot be judged",
        steps=[PUPIL, step("b", EVALUATE, model="$pupil.student")],
    ),
    pipeline(
        "k above the samples of a student to come",
        "/steps/1/spec/pass_at/0",
        "pass@2",
        steps=[PUPIL, step("b", EVALUATE, model="$pupil.student", pass_at=[2])],
    ),
    pipeline(
        "a whole model to train on",
        "/steps/1/spec/teacher",
        "fully trained",
        steps=[step("a", WARMUP, lora=None), step("b", RL, teacher="$a.teacher")],
        **NOT_YET,
    ),
    pipeline(
        "a restart of nothing", "/resume_from/job", "no job", resume_from={"job": NO_JOB, "step": "distil"}, **NOT_FOUND
    ),
    pipeline(
        "a restart of no pipeline",
        "/resume_from/job",
        "no pipeline",
        resume_from={"job": "$job_ended", "step": "distil"},
    ),
    pipeline(
        "a restart in no round",
        "/resume_from/round",
        "greater than or equal to 1",
        resume_from={"job": NO_JOB, "step": "distil", "round": 0},
    ),
)
