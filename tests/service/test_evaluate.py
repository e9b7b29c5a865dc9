"""An evaluate as it is submitted: what is accepted, what is refused before anything starts, what is compared."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_service.control import judging
from rlt_service.control.evaluating import EvaluateChecks
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from tests.support.control import Control, check_problem, control_app

ROWS = [{"question": f"{number} + 1?", "solution": "s", "answer": str(number + 1)} for number in range(4)]
GAMES = [row | {"nums": [1, 2], "target": 3} for row in ROWS]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=1024) as made:
        made.version("pupil", role="student")
        yield made


@pytest.fixture(scope="module")
def datasets(control: Control) -> dict[str, str]:
    return {
        "answers": control.upload(ROWS),
        "games": control.upload(GAMES),
        "bare": control.upload({"question": row["question"], "solution": "s"} for row in ROWS),
        "some": control.upload([*ROWS, {"question": "?", "solution": "s", "answer": " "}]),
        "long": control.upload([*ROWS, {"question": "why " * 600, "solution": "s", "answer": "1"}]),
    }


def evaluate(dataset: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "evaluate", "dataset": dataset, "model": "pupil", "verdict": "exact", **fields}


@pytest.mark.parametrize(
    ("dataset", "fields"),
    [
        ("answers", {}),
        ("answers", {"model": None, "models": ["pupil", "fake@0"], "samples": 8, "pass_at": [1, 8]}),
        ("games", {"verdict": "countdown"}),
        ("bare", {"role": "teacher", "model": "default", "verdict": None}),
        ("answers", {"temperature": 0}),
    ],
)
def test_an_evaluate_is_accepted_and_its_dry_run_starts_nothing(
    control: Control, datasets: dict[str, str], dataset: str, fields: dict[str, Any]
) -> None:
    spec = {name: value for name, value in evaluate(datasets[dataset], **fields).items() if value is not None}
    before = control.services.jobs.counts()
    dry = control.http.post("/v1/train?dry_run=true", json=spec)
    assert dry.status_code == 200, dry.text
    assert control.services.jobs.counts() == before
    asked = 4 * len(spec.get("models", [1]))
    check_estimates(dry.json(), asked=asked, samples=spec.get("samples", 1), teachers=spec.get("role") == "teacher")
    answer = control.http.post("/v1/train", json=spec)
    assert (answer.status_code, answer.json()["kind"]) == (202, "evaluate")


def check_estimates(dry: dict[str, Any], *, asked: int, samples: int, teachers: bool) -> None:
    """Hold tokens and seconds against what the trial measured."""
    shown, found = dry["rehearsal"], dry["estimates"]
    tried = len(shown["rows"])
    assert (tried, shown["not_scored"], shown["engine"]["name"]) == (4, None, "fake")
    mean = sum(row["explanation_tokens"] for row in shown["rows"]) / tried
    generated, scored = found["generated_tokens"]["value"], found["scored_tokens"]["value"]
    assert generated == pytest.approx(asked * samples * mean)
    assert found["generate_s"]["value"] == pytest.approx(generated * shown["generate_s"] / shown["generated_tokens"])
    if teachers:
        beside = (shown["scored_tokens"] - shown["generated_tokens"]) / (2 * tried)
        assert scored == pytest.approx(asked * (samples * (beside + mean) + beside))
        read = shown["scored_tokens"] - shown["cached_tokens"]
        assert found["score_s"]["value"] == pytest.approx(scored * shown["score_s"] / read)
    else:
        assert (scored, found["score_s"]["value"]) == (0, 0)
        assert all(row["reward"] is None for row in shown["rows"])
    assert found["total_s"]["value"] == pytest.approx(found["generate_s"]["value"] + found["score_s"]["value"])


def test_an_answer_that_the_trial_cut_off_counts_as_the_longest(tmp_path: Path) -> None:
    engine = FakeEngine(FakeOptions(max_model_len=1024, unclosed_share=1.0))
    with control_app(tmp_path, make_engine=lambda _: engine) as control:
        spec = evaluate(control.upload(ROWS), model="default", max_runtime_s=1e-9)
        dry = control.http.post("/v1/train?dry_run=true", json=spec).json()
    assert dry["estimates"]["generated_tokens"]["value"] == 4 * 512
    assert "cut some off" in dry["estimates"]["generated_tokens"]["basis"]
    assert [row["right"] for row in dry["rehearsal"]["rows"]] == [None] * 4
    assert any("max_runtime_s" in warning for warning in dry["warnings"])


@pytest.mark.parametrize(
    ("dataset", "fields", "code", "param", "why"),
    [
        ("bare", {}, "invalid_request", "/dataset", "4 of 4 rows cannot be judged"),
        (
            "some",
            {},
            "invalid_request",
            "/dataset",
            "1 of 5 rows cannot be judged by the verdict exact; the first, 'row-5'",
        ),
        ("answers", {"verdict": "choice"}, "invalid_request", "/dataset", "no letter of a choice"),
        ("answers", {"verdict": "countdown"}, "invalid_request", "/dataset", "no nums"),
        ("answers", {"pass_at": [1, 2]}, "invalid_request", "/pass_at/1", "pass@2 cannot be told from 1 samples"),
        ("answers", {"pass_at": [0]}, "invalid_request", "/pass_at/0", "pass@0"),
        ("answers", {"samples": 4, "pass_at": [2, 2]}, "invalid_request", "/pass_at/1", "twice"),
        ("answers", {"samples": 65}, "invalid_request", "/samples", "64"),
        ("answers", {"samples": 2, "temperature": 0}, "invalid_request", "/samples", "all 2 samples"),
        ("answers", {"models": ["pupil"]}, "invalid_request", "/model", "either model, or models"),
        ("answers", {"model": None}, "invalid_request", "/model", "either model, or models"),
        ("answers", {"model": None, "models": ["pupil", "pupil@1"]}, "invalid_request", "/models/1", "named before"),
        ("answers", {"model": None, "models": ["pupil", "nobody"]}, "model_not_found", "/models/1", "nobody"),
        ("answers", {"model": "nobody"}, "model_not_found", "/model", "nobody"),
        ("answers", {"role": "teacher", "model": "default"}, "invalid_request", "/verdict", "leave it out"),
        ("long", {}, "prompt_too_long", "/max_tokens", "1 of 5 rows do not fit"),
        ("answers", {"max_tokens": 1020}, "prompt_too_long", "/max_tokens", "4 of 4 rows do not fit"),
        ("hub:a/b", {}, "not_available_yet", "/dataset", "upload the rows"),
        ("ds_" + "0" * 20, {}, "not_found", "/dataset", "no dataset"),
        ("answers", {"target_name": "a"}, "unknown_field", "/target_name", "no field"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(
    control: Control,
    datasets: dict[str, str],
    dataset: str,
    fields: dict[str, Any],
    code: str,
    param: str,
    why: str,
) -> None:
    before = control.services.jobs.counts()
    spec = {
        name: value
        for name, value in evaluate(datasets.get(dataset, dataset), **fields).items()
        if value is not None or name not in fields
    }
    answer = control.http.post("/v1/train", json=spec)
    status = 404 if code.endswith("not_found") else 422
    assert why in check_problem(answer, status, code, param=param)["detail"]
    assert control.services.jobs.counts() == before


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"temperature": 0}, "/temperature"), ({"top_p": 0.9}, "/top_p"), ({"pass_at": [1]}, "/pass_at")],
)
def test_a_teacher_is_not_measured_at_log_probs_that_are_not_its_own(
    control: Control, datasets: dict[str, str], fields: dict[str, Any], param: str
) -> None:
    spec = {"kind": "evaluate", "dataset": datasets["answers"], "role": "teacher", "model": "default", **fields}
    check_problem(control.http.post("/v1/train", json=spec), 422, "invalid_request", param=param)


def test_mathematics_needs_its_library_where_workers_run_here(
    control: Control, datasets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    services = control.services
    spec = EvaluateSpec.model_validate(evaluate(datasets["answers"], verdict="math_verify"))
    here = services.settings.model_copy(update={"broker_url": None})
    checks = EvaluateChecks(settings=here, datasets=services.datasets, registry=services.registry, engine=None)
    monkeypatch.setattr(judging, "LIBRARY", "no_such_library")
    with pytest.raises(InvalidRequestError, match="pip install") as caught:
        checks.check(spec)
    assert caught.value.param == "/verdict"
    replace(checks, settings=services.settings).check(spec)  # workers elsewhere have what they have
    checks.check(spec.model_copy(update={"verdict": "exact"}))
    monkeypatch.setattr(judging, "LIBRARY", "json")
    assert checks.check(spec).rows == 4


def test_a_version_that_a_job_measures_is_not_deleted(control: Control, datasets: dict[str, str]) -> None:
    version = control.version("measured", role="student", seed=7)
    spec = evaluate(datasets["answers"], model=None, models=["pupil", version])
    job = control.http.post("/v1/train", json={name: value for name, value in spec.items() if value}).json()
    answer = control.http.delete("/v1/students/measured/versions/1")
    assert job["id"] in check_problem(answer, 409, "version_in_use")["detail"]


def test_a_benchmarks_own_file_becomes_a_dataset_that_is_judged_by_its_verdict(control: Control) -> None:
    row = {"question": "6 * 8?", "answer": "6 * 8 = <<6*8=48>>48.\n#### 48"}
    headers = {"Content-Type": "application/jsonl"}
    made = control.http.post("/v1/datasets?benchmark=gsm8k", content=json.dumps(row), headers=headers)
    assert made.status_code == 201, made.text
    [stored] = control.http.get(f"/v1/datasets/{made.json()['id']}/rows").json()["data"]
    assert (stored["answer"], stored["solution"], stored["reasoning_trace"]) == (
        "48",
        "The answer is 48.",
        "6 * 8 = 48.",
    )
    assert control.http.post("/v1/train", json=evaluate(made.json()["id"])).status_code == 202
    other = control.http.post("/v1/datasets?benchmark=countdown", content=json.dumps(row), headers=headers)
    assert "no row of countdown" in check_problem(other, 422, "invalid_dataset")["detail"]
    for query, param in (("benchmark=gsm8", "/benchmark"), ("benchmark=gsm8k&columns={}", "/columns")):
        refused = control.http.post(f"/v1/datasets?{query}", content=json.dumps(row), headers=headers)
        check_problem(refused, 422, "invalid_request", param=param)


@pytest.mark.parametrize(
    ("names", "status", "why"),
    [
        ("eval_a", 422, "give from 2 to 8"),
        ("eval_a,eval_a", 422, "some perhaps twice"),
        ("eval_a,eval_b", 404, "'eval_a' is not an evaluation of a single model"),
        ("pupil@1,fake@0", 404, "'pupil@1' is not a version that an evaluate job has measured"),
        ("", 422, ""),
    ],
)
def test_what_cannot_be_compared_says_why(control: Control, names: str, status: int, why: str) -> None:
    answer = control.http.get(f"/v1/evaluations?compare={names}")
    code = "not_found" if status == 404 else "invalid_request"
    assert why in check_problem(answer, status, code, param="/compare")["detail"]


def test_a_gates_comparison_is_no_evaluation_of_one_model(control: Control) -> None:
    made = control.version("algebra")
    found = control.evaluation(before="fake@0", after=made, gain=0.1)
    answer = control.http.get(f"/v1/evaluations?compare={found},{made}")
    check_problem(answer, 404, "not_found", param="/compare")
    assert control.http.get(f"/v1/evaluations/{found}").json()["object"] == "evaluation"
