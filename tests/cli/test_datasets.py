"""`rlt datasets`: from a file to the server and back, bad lines, the bar, ids of the wrong kind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rlt_client.cli.exit_codes import ExitCode
from tests.cli.conftest import Ended, Rlt

Good = Callable[..., Ended]
ROWS = [
    {"question": f"{a} + [1]?", "answer": str(a + 1), "reasoning_trace": f"After {a}.", "level": a} for a in range(4)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture
def dataset(file: Path, good: Good) -> str:
    call = ("datasets", "upload", str(file), "--name", "sums", "--column", "solution=It is {answer}.")
    return good(*call, "--json").json["id"]


def test_an_upload_says_its_id_and_what_it_holds(file: Path, good: Good) -> None:
    said = good("datasets", "upload", str(file), "--column", "solution=It is {answer}.").out
    assert said.startswith("ds_")
    assert "4 rows: " in said


def test_an_upload_on_a_terminal_has_a_bar_and_leaves_nothing_of_it(file: Path, good: Good) -> None:
    ended = good("datasets", "upload", str(file), "--column", "solution={answer}", terminal=True)
    assert "sums.jsonl" in ended.err
    assert "━" in ended.err
    assert "━" not in ended.out


def test_a_benchmark_s_file_goes_up_as_it_is(tmp_path: Path, good: Good) -> None:
    (tmp_path / "test.jsonl").write_text('{"question": "6 / 2?", "answer": "Halve it.\\n#### 3"}\n')
    made = good("datasets", "upload", str(tmp_path / "test.jsonl"), "--benchmark", "gsm8k", "--json").json
    [row] = good("datasets", "rows", made["id"], "--json").json["data"]
    assert row["answer"] == "3"


def test_bad_lines_are_named_and_nothing_is_stored(tmp_path: Path, rlt: Rlt) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"question": "a", "solution": "b"}\n{"question": 1}\n{\n')
    ended = rlt("datasets", "upload", str(path))
    assert ended.code == ExitCode.USAGE
    assert [line.split(":")[0].strip() for line in ended.err.splitlines() if "  line " in line] == ["line 2", "line 3"]
    assert [line["line"] for line in rlt("datasets", "upload", str(path), "--json").error["lines"]] == [2, 3]


def test_a_file_that_is_not_there_is_named(rlt: Rlt, tmp_path: Path) -> None:
    ended = rlt("datasets", "upload", str(tmp_path / "none.jsonl"))
    assert ended.code == ExitCode.FAILED
    assert "none.jsonl" in ended.err
    assert "No such file" in ended.err


def test_a_template_without_a_column_is_wrong_usage(rlt: Rlt, file: Path) -> None:
    ended = rlt("datasets", "upload", str(file), "--column", "solution")
    assert ended.code == ExitCode.USAGE
    assert "COLUMN=TEMPLATE" in ended.err


def test_datasets_are_listed_shown_and_read(dataset: str, good: Good) -> None:
    head, *rows = good("datasets", "list").cells
    assert head == ["id", "rows", "bytes", "created", "name"]
    assert next(row for row in rows if row[0] == dataset)[1::3] == ["4", "sums"]
    assert dataset in [one["id"] for one in good("datasets", "list", "--json").json["data"]]
    shown = good("datasets", "show", dataset, "--rows", "2").out
    assert "sha256 " in shown
    assert shown.count("It is ") == 2
    assert "0 + [1]?" in shown
    assert len(good("datasets", "show", dataset, "--rows", "2", "--json").json["data"]) == 2
    window = good("datasets", "rows", dataset, "--offset", "3", "--limit", "5")
    assert "It is 4." in window.out
    assert "level" in window.out
    assert [row["solution"] for row in good("datasets", "rows", dataset, "--offset", "3", "--json").json["data"]] == [
        "It is 4."
    ]


@pytest.mark.parametrize("form", ["jsonl", "messages"])
def test_a_download_is_a_file_of_all_rows(dataset: str, good: Good, tmp_path: Path, form: str) -> None:
    target = tmp_path / "rows.jsonl"
    assert str(target) in good("datasets", "download", dataset, str(target), "--format", form).out
    rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 4
    assert ("messages" in rows[0]) == (form == "messages")
    assert good("datasets", "download", dataset, str(target), "--json").json["id"] == dataset


def test_a_form_that_is_not_there_names_the_nearest(rlt: Rlt, dataset: str, tmp_path: Path) -> None:
    ended = rlt("datasets", "download", dataset, str(tmp_path / "x"), "--format", "parket")
    assert ended.code == ExitCode.USAGE
    assert "Did you mean 'parquet'?" in ended.err


def test_a_deleted_dataset_is_gone(dataset: str, good: Good, rlt: Rlt) -> None:
    assert good("datasets", "delete", dataset).out == f"{dataset} deleted\n"
    for call in (("show", dataset), ("rows", dataset), ("delete", dataset), ("download", dataset, "x")):
        assert rlt("datasets", *call).code == ExitCode.NOT_FOUND


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("jobs", "show", "ds_1"), "an id of `rlt datasets`"),
        (("datasets", "show", "job_1"), "an id of `rlt jobs`"),
        (("evaluations", "show", "job_1"), "begins with eval_"),
    ],
)
def test_an_id_of_another_kind_is_told_before_asking(rlt: Rlt, call: tuple[str, ...], said: str) -> None:
    ended = rlt(*call)
    assert ended.code == ExitCode.USAGE
    assert said in ended.err
