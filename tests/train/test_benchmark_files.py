"""A benchmark's rows from the hub: the exact call of the datasets library, with the hub itself stood in for."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rlt_core.benchmarks import BENCHMARKS
from rlt_core.errors import InvalidDatasetError, InvalidRequestError
from rlt_train.benchmark_files import PLACES, fetch_rows, main

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS: dict[str, dict[str, Any]] = {
    "gsm8k": {"question": "6 * 8?", "answer": "6 * 8 = <<6*8=48>>48.\n#### 48"},
    "math-500": {"problem": "1+1?", "solution": "So $2$.", "answer": "2", "subject": "Algebra", "level": 1},
    "aime-2024": {"ID": "2024-I-1", "Problem": "1+1?", "Solution": "So 2.", "Answer": 2},
    "gpqa-diamond": {
        "Question": "Which?",
        "Correct Answer": "a",
        "Incorrect Answer 1": "b",
        "Incorrect Answer 2": "c",
        "Incorrect Answer 3": "d",
    },
    "countdown": {"nums": [1, 2], "target": 3},
}


@cache
def parameters() -> list[str]:
    """Name what the library's own function takes; in a process of its own, as its import leaves threads behind."""
    told = "import inspect, json, datasets; print(json.dumps([*inspect.signature(datasets.load_dataset).parameters]))"
    return json.loads(subprocess.run([sys.executable, "-c", told], capture_output=True, check=True, text=True).stdout)


class Hub:
    """Stands in for `datasets.load_dataset`, and holds each call against its signature."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = rows
        self.calls: list[dict[str, Any]] = []

    def __call__(self, *args: Any, **fields: Any) -> list[dict[str, Any]]:
        assert fields.keys() <= set(parameters())
        self.calls.append(dict(zip(parameters(), args, strict=False)) | fields)
        return list(self.rows)


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_each_benchmark_is_fetched_by_name_at_one_commit(tmp_path: Path, name: str) -> None:
    hub, out = Hub(ROWS[name], ROWS[name]), tmp_path / "rows.jsonl"
    assert fetch_rows(name, revision=COMMIT, out=out, load=hub) == 2
    place = PLACES[name]
    assert hub.calls == [
        {
            "path": place.repository,
            "name": place.config,
            "split": place.split,
            "revision": COMMIT,
            "streaming": True,
        }
    ]
    assert [json.loads(line) for line in out.read_text().splitlines()] == [ROWS[name]] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:39], COMMIT.upper(), ""])
def test_a_revision_that_may_move_is_refused_before_the_hub_is_asked(tmp_path: Path, revision: str) -> None:
    hub = Hub()
    with pytest.raises(InvalidRequestError, match="40 hexadecimal digits"):
        fetch_rows("gsm8k", revision=revision, out=tmp_path / "rows.jsonl", load=hub)
    assert hub.calls == []


def test_rows_of_another_shape_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidDatasetError, match="row 2: no row of gsm8k"):
        fetch_rows(
            "gsm8k",
            revision=COMMIT,
            out=tmp_path / "rows.jsonl",
            load=Hub(ROWS["gsm8k"], ROWS["countdown"]),
        )
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_to_do_next_and_why_it_could_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    arguments = ["countdown", "--revision", COMMIT, "--out", str(out), "--split", "other", "--limit", "1"]
    hub = Hub(ROWS["countdown"], ROWS["countdown"])
    assert main(arguments, load=hub) == 0
    assert (hub.calls[0]["split"], len(out.read_text().splitlines())) == ("other", 1)
    assert f"rlt datasets upload {out} --benchmark countdown" in capsys.readouterr().out

    def away(*_: Any, **__: Any) -> Any:
        raise ConnectionError("the hub cannot be reached")

    assert main(arguments, load=away) == 1
    assert "ConnectionError: the hub cannot be reached" in capsys.readouterr().err
