"""A dataset in other forms: Parquet with its types, chats that the library `datasets` reads; all of them streamed."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet
import pytest

from rlt_core.schemas.collect import PROVENANCE, Provenance
from rlt_service.control.parquet import GROUP_ROWS, parquet_chunks
from tests.support.control import Control, check_problem, control_app
from tests.train.collecting.parts import collected


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(scope="module")
def dataset(control: Control) -> str:
    rows = [collected(number, text=f"one more than {number}", topic="sums") for number in range(3)]
    return control.upload(json.loads(row.model_dump_json(exclude_none=True)) for row in rows)


def download(control: Control, dataset: str, form: str) -> Any:
    answer = control.http.get(f"/v1/datasets/{dataset}/download?format={form}")
    assert answer.status_code == 200, answer.text
    return answer


def table_of(content: bytes) -> Any:
    parquet: Any = pyarrow.parquet
    return parquet.read_table(io.BytesIO(content))


def test_parquet_has_texts_and_provenance_in_its_types(control: Control, dataset: str) -> None:
    answer = download(control, dataset, "parquet")
    assert answer.headers["content-disposition"] == f'attachment; filename="{dataset}.parquet"'
    table = table_of(answer.content)
    told = {field.name: str(field.type) for field in table.schema.field(PROVENANCE).type}
    assert (told["reward"], told["seed"], told["verbatim"], told["teacher"]) == ("double", "int64", "bool", "string")
    assert told.keys() == Provenance.model_fields.keys()
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == ["r0#0", "r1#0", "r2#0"]
    assert rows[1]["reasoning_trace"] == "one more than 1"
    assert (rows[1][PROVENANCE]["source_row"], rows[1][PROVENANCE]["uplift"]) == ("r1", 0.5)
    assert json.loads(rows[1]["metadata"]) == {"topic": "sums"}


def test_parquet_of_plain_rows_has_no_provenance(control: Control) -> None:
    rows = table_of(download(control, control.upload(), "parquet").content).to_pylist()
    assert (len(rows), rows[0][PROVENANCE], rows[0]["answer"]) == (10, None, None)


def test_parquet_is_sent_group_by_group_and_takes_no_more_memory_than_one() -> None:
    line = b'{"question": "1 + 1?", "solution": "2", "metadata": {}}\n'
    read = 0

    def lines() -> Iterator[bytes]:
        nonlocal read
        for _ in range(3 * GROUP_ROWS):
            read += 1
            yield line

    chunks = parquet_chunks(lines())
    first = next(chunks)
    assert read == GROUP_ROWS
    whole = first + b"".join(chunks)
    assert table_of(whole).num_rows == 3 * GROUP_ROWS


@pytest.mark.parametrize(
    ("form", "field"), [("messages", "messages"), ("prompt_completion", "completion"), ("sharegpt", "conversations")]
)
def test_chats_are_one_json_object_a_line(control: Control, dataset: str, form: str, field: str) -> None:
    answer = download(control, dataset, form)
    assert answer.headers["content-disposition"] == f'attachment; filename="{dataset}.{form}.jsonl"'
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [row["id"] for row in rows] == ["r0#0", "r1#0", "r2#0"]
    assert "one more than 2" in str(rows[2][field])


def test_a_row_is_tagged_in_the_format_in_which_it_was_explained(control: Control) -> None:
    rows = [collected(0, format="r1@1"), collected(1, format="stratos@1"), collected(2, format="gone@9")]
    dataset = control.upload(json.loads(row.model_dump_json(exclude_none=True)) for row in rows)
    said = [
        json.loads(line)["messages"][-1]["content"] for line in download(control, dataset, "messages").text.splitlines()
    ]
    assert [text.partition(">")[0] for text in said] == ["<think", "<|begin_of_thought|", "<|begin_of_thought|"]


def test_a_chat_form_of_questions_without_explanations_is_refused(control: Control) -> None:
    dataset = control.upload([{"question": "1 + 1?", "solution": "2"}])
    found = check_problem(
        control.http.get(f"/v1/datasets/{dataset}/download?format=messages"), 422, "invalid_request", "/format"
    )
    assert "no reasoning_trace" in found["detail"]
    check_problem(control.http.get(f"/v1/datasets/{dataset}/download?format=csv"), 422, "invalid_request", "/format")
