"""A collect as it is submitted and tried: what is refused before it starts, what a dry run says, what it leaves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.jobs import DryRun
from rlt_service.jobs.preparation import Preparation
from tests.support.control import ROWS, Control, check_problem, control_app

LONG = {"question": "very " * 400, "solution": "4"}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=512) as made:
        yield made


@pytest.fixture(scope="module")
def dataset(control: Control) -> str:
    return control.upload()


def collect(dataset: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "collect", "dataset": dataset, "max_tokens": 32, "samples_per_question": 2, **fields}


def dry_run(control: Control, spec: dict[str, Any]) -> DryRun:
    answer = control.http.post("/v1/train?dry_run=true", json=spec)
    assert answer.status_code == 200, answer.text
    return DryRun.model_validate(answer.json())


def test_a_submission_is_queued_and_says_which_dataset_it_will_fill(control: Control, dataset: str) -> None:
    answer = control.http.post("/v1/train", json=collect(dataset, name="traces"))
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["status"], job["spec"]["keep"]) == ("collect", "queued", "all")
    assert job["output"] == job["id"].replace("job_", "ds_")
    assert control.http.get("/v1/jobs?kind=collect&limit=1").json()["data"][0] == job
    waiting = control.http.get(f"/v1/datasets/{job['output']}").json()
    assert (waiting["rows"], waiting["complete"], waiting["job"], waiting["name"]) == (0, False, job["id"], "traces")
    assert control.http.get(f"/v1/datasets/{job['output']}/rows").json()["data"] == []
    assert control.http.get(f"/v1/datasets/{job['output']}/download").content == b""


def test_five_rows_are_tried_and_all_of_them_estimated(control: Control, dataset: str) -> None:
    found = dry_run(control, collect(dataset))
    tried, estimates, lengths = found.rehearsal, found.estimates, found.lengths
    assert tried is not None
    assert estimates is not None
    assert lengths is not None
    assert [row.row for row in tried.rows] == [f"row-{number}" for number in range(1, 6)]
    assert (found.dataset_rows, found.train_rows, lengths.looked_at, lengths.too_long) == (10, 10, 10, 0)
    mean = tried.generated_tokens / 5
    assert estimates.generated_tokens.value == pytest.approx(10 * 2 * mean)
    assert lengths.mean_reader_tokens is not None
    read = 10 * 2 * (lengths.mean_reader_tokens + mean) + 10 * lengths.mean_reader_tokens
    assert estimates.scored_tokens.value == pytest.approx(read)
    assert (estimates.trained_tokens.value, estimates.train_s.value) == (0.0, 0.0)
    assert estimates.total_s.value is not None
    both, best = estimates.disk_bytes.value, dry_run(control, collect(dataset, keep="best")).estimates
    assert both is not None
    assert best is not None
    assert best.disk_bytes.value == pytest.approx(both / 2, rel=0.1)  # one of two explanations is kept


def test_questions_that_do_not_fit_are_counted_before_anything_starts(control: Control) -> None:
    dataset = control.upload([LONG, *ROWS])
    found = dry_run(control, collect(dataset))
    assert found.lengths is not None
    assert (found.lengths.looked_at, found.lengths.too_long) == (11, 1)
    assert [warning for warning in found.warnings if "1 of the 11 rows" in warning]
    assert control.http.post("/v1/train", json=collect(dataset)).status_code == 202


@pytest.mark.parametrize("dry", ["", "?dry_run=true"])
def test_a_dataset_of_which_nothing_fits_is_refused(control: Control, dry: str) -> None:
    dataset = control.upload([LONG])
    found = check_problem(
        control.http.post(f"/v1/train{dry}", json=collect(dataset)), 422, "prompt_too_long", "/max_tokens"
    )
    assert "the shortest has" in found["detail"]


def test_ids_that_stand_twice_are_refused_before_a_collect_could_name_them(control: Control) -> None:
    rows = [{"id": "a", "question": "1?", "solution": "1"}, {"id": "a", "question": "2?", "solution": "2"}]
    body = "".join(json.dumps(row) + "\n" for row in rows)
    answer = control.http.post("/v1/datasets", content=body, headers={"Content-Type": "application/jsonl"})
    assert "Line 2: the id 'a' stands in an earlier line too" in check_problem(answer, 422, "invalid_dataset")["detail"]


def test_what_is_not_complete_is_given_to_no_job_and_deleted_by_nobody(control: Control, dataset: str) -> None:
    job = control.http.post("/v1/train", json=collect(dataset)).json()
    output = job["output"]
    refused = control.http.post("/v1/train", json=collect(output))
    found = check_problem(refused, 404, "not_found", "/dataset")
    assert found["detail"] == f"Dataset {output} is not complete: {job['id']}, which collects it, is queued."
    found = check_problem(control.http.delete(f"/v1/datasets/{output}"), 409, "conflict")
    assert "Cancel it first" in found["detail"]
    assert control.http.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "cancelled"
    check_problem(control.http.get(f"/v1/datasets/{output}"), 404, "not_found", "/dataset")  # nothing was collected


def test_the_teacher_of_a_waiting_collect_is_not_deleted(control: Control, dataset: str) -> None:
    version = control.version("algebra")
    job = control.http.post("/v1/train", json=collect(dataset, teacher=version)).json()
    found = check_problem(control.http.delete("/v1/teachers/algebra/versions/1"), 409, "version_in_use")
    assert job["id"] in found["detail"]


def test_a_dataset_that_a_waiting_collect_reads_is_not_deleted(control: Control) -> None:
    dataset = control.upload()
    job = control.http.post("/v1/train", json=collect(dataset)).json()
    found = check_problem(control.http.delete(f"/v1/datasets/{dataset}"), 409, "conflict")
    assert job["id"] in found["detail"]


def test_rows_are_downloaded_as_they_are_stored(control: Control, dataset: str) -> None:
    answer = control.http.get(f"/v1/datasets/{dataset}/download")
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["content-disposition"] == f'attachment; filename="{dataset}.jsonl"'
    assert answer.content == control.services.artifacts.dataset_path(dataset).read_bytes()
    check_problem(control.http.get(f"/v1/datasets/ds_{'0' * 20}/download"), 404, "not_found", "/dataset")


def test_without_an_engine_a_collect_is_checked_but_for_its_lengths(tmp_path: Path) -> None:
    with control_app(tmp_path, roles=("control",)) as control:
        found = dry_run(control, collect(control.upload()))
        assert found.lengths is None
        assert found.estimates is not None
        assert found.estimates.total_s.value is None


SOURCE = {"name": "stub", "model": "deep"}


@pytest.mark.parametrize(
    ("fields", "param", "why"),
    [
        ({"source": SOURCE | {"name": "other"}}, "/source/name", "(there are: stub)"),
        ({"source": SOURCE, "teacher": "default"}, "/teacher", "name one of the two"),
        ({"drop": ["wrong"]}, "/drop", "none of its explanations is wrong"),
        ({"source": SOURCE | {"base_url": "http://inside"}}, "/source/base_url", "no field"),
        ({"source": SOURCE | {"prompt": "no place"}}, "/source/prompt", "question"),
    ],
)
def test_a_source_is_one_that_the_operator_laid_down(
    outside: Control, fields: dict[str, Any], param: str, why: str
) -> None:
    answer = outside.http.post("/v1/train", json=collect(outside.upload(), **fields))
    assert (answer.status_code, answer.json()["param"]) == (422, param), answer.text
    assert why in answer.json()["detail"]


def test_a_collect_of_a_source_is_prepared_with_its_address_and_the_name_of_its_key(outside: Control) -> None:
    spec = collect(outside.upload(), source=SOURCE, drop=["wrong"])
    tried = dry_run(outside, spec)
    assert tried.rehearsal is not None
    assert (tried.teacher, tried.rehearsal.not_scored) == (
        None,
        "what a source outside takes is not tried: it may cost money",
    )
    assert outside.http.post("/v1/train", json=spec).status_code == 202
    services = outside.services
    claimed = services.jobs.claim(queue="train", worker="w")
    assert claimed is not None
    settings = services.settings.model_copy(update={"service_url": "http://service.test"})
    stores: dict[str, Any] = {
        "datasets": services.datasets,
        "registry": services.registry,
        "artifacts": services.artifacts,
    }
    told = Preparation(settings=settings, jobs=services.jobs, **stores).prepare(claimed.job, base_dir=settings.home)
    assert (told.teacher_version, told.source_url, told.source_key_env) == (
        "stub/deep",
        "http://stub.test/v1",
        "STUB_KEY",
    )
    unknowing = settings.model_copy(update={"sources": {}})
    with pytest.raises(ConfigurationError, match="RLT_SOURCES of this worker has no 'stub'"):
        Preparation(settings=unknowing, jobs=services.jobs, **stores).prepare(claimed.job, base_dir=settings.home)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    source = {"base_url": "http://stub.test/v1", "api_key_env": "STUB_KEY"}
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=512, sources={"stub": source}) as made:
        yield made


def test_held_out_questions_are_not_explained_and_what_is_wrong_with_a_split_is_refused(control: Control) -> None:
    dataset = control.upload()
    spec = {"kind": "collect", "dataset": dataset, "splits": {"report": 0.3}, "max_tokens": 24}
    dry = control.http.post("/v1/train?dry_run=true", json=spec).json()
    assert (dry["dataset_rows"], dry["train_rows"], dry["held_out_rows"]["report"]) == (10, 7, 3)
    assert dry["lengths"]["rows"] == 7
    for splits, status, param in (
        ({"report": 1.0}, 422, "/splits/report"),
        ({"report": 0.6, "gate": 0.6}, 422, "/splits"),
        ({"report": dataset}, 422, "/splits"),
        ({"report": "ds_" + "f" * 20}, 404, "/splits/report"),
        ({"report": "hub:a/b"}, 422, "/splits/report"),
    ):
        refused = control.http.post("/v1/train", json=spec | {"splits": splits})
        assert (refused.status_code, refused.json()["param"]) == (status, param), refused.text
    assert control.http.post("/v1/train", json=spec).status_code == 202
