"""The rows of the table of bad inputs that uploads and readings of datasets are."""

import json
from typing import Any
from urllib.parse import quote

from tests.support.bad_input import BadInput
from tests.support.bad_input_kinds import (
    FILE,
    FORM,
    JSONL,
    KEY,
    MALFORMED,
    NO_DATASET,
    ROW,
    TOO_LARGE,
    WRONG_TYPE,
    absent,
    query,
    upload,
)

INVALID: dict[str, Any] = {"code": "invalid_request"}
COLUMNS = INVALID | {"param": "/columns"}


def columns(mapping: object) -> str:
    """Write the query."""
    return "?columns=" + quote(mapping if isinstance(mapping, str) else json.dumps(mapping))


DATASETS = (
    upload("no rows", b"\n\n", "holds no row"),
    upload("a line that is no JSON", ROW + b"{", "Line 2: not JSON"),
    upload("a line that is no object", ROW + b"[1]", "Line 2: not a JSON object"),
    upload("a line without a question", b'{"solution": "s"}', "Line 1: no question; this line has solution"),
    upload("a line with an empty question", b'{"question": " ", "solution": "s"}', "question is empty"),
    upload("a number for a solution", b'{"question": "q", "solution": 7}', "solution must be text, not 7"),
    upload("a key twice in a line", b'{"question": "q", "solution": "s", "question": "r"}', "stands twice"),
    upload("NaN in a line", b'{"question": "q", "solution": "s", "x": NaN}', "NaN is no JSON number"),
    upload(
        "a number above all floats in a line", b'{"question": "q", "solution": "s", "x": 1e999}', "1e999 is too large"
    ),
    upload(
        "an integer of 4,500 digits in a line",
        b'{"question": "q", "solution": "s", "x": ' + b"9" * 4500 + b"}",
        "not JSON that is taken",
    ),
    upload("a line that is no UTF-8", b'{"question": "\xff", "solution": "s"}', "not UTF-8 at byte 15"),
    upload(
        "half of a surrogate pair in a line", b'{"question": "\\ud800", "solution": "s"}', "half of a surrogate pair"
    ),
    upload(
        "a line nested too deep",
        b'{"question": "q", "solution": "s", "x": ' + b"[" * 40 + b"]" * 40 + b"}",
        "nested deeper than 32",
    ),
    upload("an id twice", 2 * b'{"id": "a", "question": "q", "solution": "s"}\n', "stands in an earlier line too"),
    upload(
        "an id of 201 characters", b'{"id": "' + b"i" * 201 + b'", "question": "q", "solution": "s"}', "the id has 201"
    ),
    upload(
        "a column inside and beside metadata",
        b'{"question": "q", "solution": "s", "metadata": {"a": 1}, "a": 2}',
        "'a' stands both in",
    ),
    upload(
        "metadata that is no object", b'{"question": "q", "solution": "s", "metadata": 1}', "metadata must be an object"
    ),
    upload("more rows than are taken", ROW * 21, "more than 20 rows"),
    upload("more bytes than are taken", b"x" * 20_000, "10000 bytes", **TOO_LARGE),
    upload("more chunks than are taken", (b"x" * 4000,) * 4, "10000 bytes", **TOO_LARGE),
    upload("a dataset of no stated type", ROW, "without a content type", headers={"Content-Type": ""}, **WRONG_TYPE),
    upload(
        "a dataset that says it is a form",
        ROW,
        "send JSONL",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        **WRONG_TYPE,
    ),
    upload("a compressed dataset", ROW, "send it plain", headers={**JSONL, "Content-Encoding": "gzip"}, **WRONG_TYPE),
    upload("columns that are no JSON", ROW, "columns is no JSON", query=columns("x"), **COLUMNS),
    upload("columns that are no object", ROW, "give an object", query=columns([1]), **COLUMNS),
    upload("a template that is no text", ROW, "give a text", query=columns({"id": 1}), **COLUMNS),
    upload("a template that is never closed", ROW, "never closed", query=columns({"id": "{"}), **COLUMNS),
    upload(
        "a template of a target that there is not",
        ROW,
        "did you mean solution?",
        query=columns({"solutoin": "{x}"}),
        **COLUMNS,
    ),
    upload("a template of a column that there is not", ROW, "there is no column 'x'", query=columns({"id": "{x}"})),
    upload(
        "a template of a column that is a list",
        b'{"question": "q", "x": []}',
        "is a JSON array",
        query=columns({"solution": "{x}"}),
    ),
    upload(
        "a template that makes too much",
        b'{"question": "' + b"q" * 3000 + b'"}',
        "characters, 20000 are allowed",
        query=columns({"solution": "{question}" * 8}),
    ),
    upload("a name of 201 characters", ROW, "200", query="?name=" + "n" * 201, param="/name", **INVALID),
    upload(
        "a form without a boundary",
        ROW,
        "no boundary",
        headers={"Content-Type": "multipart/form-data"},
        status=400,
        **MALFORMED,
    ),
    upload(
        "a boundary of 300 characters",
        ROW,
        "no boundary",
        headers={"Content-Type": f"multipart/form-data; boundary={'b' * 300}"},
        status=400,
        **MALFORMED,
    ),
    upload("a form that is none", ROW, "broken", headers=FORM, status=400, **MALFORMED),
    upload("a form that is cut off", FILE + ROW, "closing boundary", headers=FORM, status=400, **MALFORMED),
    upload("a form without a file", b"--b--\r\n", "holds no file", headers=FORM, **INVALID),
    upload(
        "a form with a plain field",
        b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n',
        "into the query",
        headers=FORM,
        **INVALID,
    ),
    upload(
        "a form with two files",
        (FILE + ROW + b"\r\n") * 2 + b"--b--\r\n",
        "a dataset is one file",
        headers=FORM,
        **INVALID,
    ),
    upload(
        "a file larger than is taken", FILE + b"x" * 12_000 + b"\r\n--b--\r\n", "10000 bytes", headers=FORM, **TOO_LARGE
    ),
    upload(
        "a form that goes on after its end",
        (FILE + ROW + b"\r\n--b--\r\n", b"x" * 80_000),
        "send the file alone",
        headers=FORM,
        **TOO_LARGE,
    ),
    upload(
        "a form with a key that another call had",
        FILE + ROW + b"\r\n--b--\r\n",
        "new key",
        headers={**FORM, KEY: "used"},
        param=f"/{KEY}",
        code="idempotency_key_reused",
    ),
    absent(
        "a dataset's rows that are not there", f"GET /v1/datasets/{NO_DATASET}/rows", "no dataset", param="/dataset"
    ),
    absent("a job's id where a dataset's is wanted", "GET /v1/datasets/$job_ended", "no dataset"),
    query("a word for an offset", "GET /v1/datasets/$dataset/rows?offset=x", "/offset", "integer"),
    query("a window of 1,001 rows", "GET /v1/datasets/$dataset/rows?limit=1001", "/limit", "1000"),
    query("a page of no datasets", "GET /v1/datasets?limit=0", "/limit", "got '0'"),
    query("a page of too many datasets", "GET /v1/datasets?limit=101", "/limit", "100"),
    upload("a bad line under a name that is no UTF-8", b'{"question": 1}', "no solution", query="?name=%ED%A0%80"),
    query("an offset before the first row", "GET /v1/datasets/$dataset/rows?offset=-1", "/offset", "got '-1'"),
    query("an offset of 70 bits", f"GET /v1/datasets/$dataset/rows?offset={2**70}", "/offset", "less than or equal"),
    query("a window of no rows", "GET /v1/datasets/$dataset/rows?limit=0", "/limit", "got '0'"),
    query("a page after what is not there", "GET /v1/datasets?after=ds_unknown", "/after", "ds_unknown"),
    BadInput(
        name="a dataset that a waiting job reads",
        call="DELETE /v1/datasets/$dataset_read",
        status=409,
        code="conflict",
        why="job_",
    ),
)
