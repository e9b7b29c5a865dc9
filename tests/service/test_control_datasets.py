"""Datasets over HTTP: what an upload may be, what it comes to, and that a refused one leaves nothing behind."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from rlt_service.control.upload import JSONL_TYPES
from tests.support.control import JSONL, ROWS, Control, check_problem, control_app

GOOD = '{"question": "1+1?", "solution": "2"}\n'
CURL = {"Content-Type": "application/x-www-form-urlencoded"}
FORM = "multipart/form-data"
MULTIPART = {"Content-Type": f"{FORM}; boundary=b"}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_dataset_bytes=4096, max_dataset_rows=20) as made:
        yield made


def part(body: str, *, disposition: str = 'form-data; name="file"; filename="rows.jsonl"') -> str:
    return f"--b\r\nContent-Disposition: {disposition}\r\nContent-Type: text/plain\r\n\r\n{body}\r\n"


FIELD = part(GOOD, disposition='form-data; name="f"') + "--b--\r\n"
UNKNOWN_IDS = ["x", "ds_UPPER0000000000000", "ds_" + "0" * 20, "..%2F..%2Fetc", "ds_%00", "%0A"]


def files_kept(control: Control) -> list[str]:
    root = control.services.artifacts.root
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_an_upload_is_stored_listed_read_and_deleted(control: Control) -> None:
    answer = control.http.post("/v1/datasets?name=sums", content=GOOD * 3, headers=JSONL)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["rows"], made["name"], made["columns"]) == (3, "sums", ["id", "question", "solution"])
    assert answer.headers["location"] == f"/v1/datasets/{made['id']}"
    assert control.http.get(answer.headers["location"]).json() == made
    assert control.http.get("/v1/datasets?limit=1").json()["data"] == [made]
    rows = control.http.get(f"/v1/datasets/{made['id']}/rows?offset=1&limit=1").json()
    assert [row["id"] for row in rows["data"]] == ["row-2"]
    assert (rows["offset"], rows["total"], rows["has_more"]) == (1, 3, True)
    assert control.http.delete(f"/v1/datasets/{made['id']}").json()["deleted"] is True
    check_problem(control.http.get(f"/v1/datasets/{made['id']}"), 404, "not_found", "/dataset")
    assert not any(made["id"] in path for path in files_kept(control))


@pytest.mark.parametrize("content_type", [*JSONL_TYPES, "Application/X-NDJSON; charset=utf-8"])
def test_jsonl_is_taken_under_each_of_its_names(control: Control, content_type: str) -> None:
    answer = control.http.post("/v1/datasets", content=GOOD, headers={"Content-Type": content_type})
    assert answer.status_code == 201, answer.text


def test_one_file_of_a_multipart_body_is_taken(control: Control) -> None:
    answer = control.http.post("/v1/datasets?name=form", files={"file": ("rows.jsonl", GOOD * 2)})
    assert (answer.status_code, answer.json()["rows"], answer.json()["name"]) == (201, 2, "form")


def test_a_body_in_small_pieces_is_the_same_dataset(control: Control) -> None:
    whole = control.http.post("/v1/datasets", content=GOOD * 2, headers=JSONL)
    pieces = control.http.post("/v1/datasets", content=(bytes([byte]) for byte in (GOOD * 2).encode()), headers=JSONL)
    body = (part(GOOD * 2) + "--b--\r\n").encode()
    form = control.http.post("/v1/datasets", content=(bytes([byte]) for byte in body), headers=MULTIPART)
    # the file of a multipart body ends where its boundary begins, with no further line
    assert whole.json()["sha256"] == pieces.json()["sha256"] == form.json()["sha256"]


def test_columns_are_mapped_by_templates_over_the_uploaded_row(control: Control) -> None:
    columns = quote(json.dumps({"solution": "The answer is {answer}.", "reasoning_trace": "{solution}"}))
    body = '{"question": "1+1?", "solution": "one and one", "answer": "2"}\n'
    made = control.http.post(f"/v1/datasets?columns={columns}", content=body, headers=JSONL).json()
    row = control.http.get(f"/v1/datasets/{made['id']}/rows").json()["data"][0]
    assert (row["solution"], row["reasoning_trace"], row["answer"]) == ("The answer is 2.", "one and one", "2")


def test_bad_lines_are_reported_with_their_numbers_and_nothing_is_stored(control: Control) -> None:
    before = (control.http.get("/v1/datasets").json(), files_kept(control))
    answer = control.http.post("/v1/datasets", content=f'{GOOD}{{"question": ""}}\n{GOOD}NaN\n', headers=JSONL)
    body = check_problem(answer, 422, "invalid_dataset")
    assert [line["line"] for line in body["lines"]] == [2, 4]
    assert (control.http.get("/v1/datasets").json(), files_kept(control)) == before


def test_a_body_without_a_length_is_refused_as_soon_as_it_is_too_long(control: Control) -> None:
    sent: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(100):
            sent.append(number)
            yield b"x" * 1000

    check_problem(control.http.post("/v1/datasets", content=chunks(), headers=JSONL), 413, "payload_too_large")


@pytest.mark.parametrize("dataset_id", UNKNOWN_IDS)
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/rows"), ("DELETE", "")])
def test_a_dataset_that_is_not_there_is_a_404(control: Control, method: str, dataset_id: str, rest: str) -> None:
    answer = control.http.request(method, f"/v1/datasets/{dataset_id}{rest}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_an_offset_beyond_the_end_gives_no_rows(control: Control) -> None:
    found = control.http.get(f"/v1/datasets/{control.upload()}/rows?offset={2**53}").json()
    assert (found["data"], found["total"], found["has_more"]) == ([], len(ROWS), False)


def test_a_dataset_that_a_waiting_job_reads_is_not_deleted(control: Control) -> None:
    dataset = control.upload()
    job = control.job(dataset=dataset)
    body: dict[str, Any] = check_problem(control.http.delete(f"/v1/datasets/{dataset}"), 409, "conflict")
    assert job.id in body["detail"]
    control.services.jobs.cancel(job.id)
    assert control.http.delete(f"/v1/datasets/{dataset}").status_code == 200
