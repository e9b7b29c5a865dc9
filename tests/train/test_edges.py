"""Where the trainer meets files and the wire."""

import json
from pathlib import Path

import httpx
import pytest

from rlt_client import Client
from rlt_core.comparison import states_solution
from rlt_core.row_files import open_rows
from rlt_train.durable import durable_folder, write_durable
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.row_lines import read_row
from rlt_train.services import HttpServices

JOB_ID = "job_0123456789abcdef0123"


def test_folder_that_was_not_filled_to_the_end_does_not_appear(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"

    def fill_half() -> None:
        with durable_folder(target) as folder:
            (folder / "one").write_text("1")
            assert not target.exists()  # a kill, unlike an error, leaves behind what is there by now
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        fill_half()
    assert not target.exists()
    with durable_folder(target) as folder:
        (folder / "two").write_text("2")
    assert [path.name for path in target.iterdir()] == ["two"]


def test_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for content in (b"first", b"second"):
        write_durable(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_rows_without_an_id_are_called_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a", "question": "q", "solution": "s"}\n{"question": "q", "solution": "s"}\n')
    assert [row.id for row in open_rows(path, read=read_row)] == ["a", "line-2"]
    path.write_text('{"question": "q", "solution": "s"}\nnot json\n')
    with pytest.raises(InvalidTrainingDataError, match="line 2"):
        open_rows(path, read=read_row)


def test_rollouts_are_published_on_the_wire_with_attempt_step_and_hash() -> None:
    seen: list[tuple[str, dict[str, object]]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={"version": f"{JOB_ID}.2@3"})

    with Client("http://server", transport=httpx.MockTransport(answer)) as client:
        services = HttpServices(client, job_id=JOB_ID, attempt=2)
        assert services.publish(step=3, sha256="0" * 64) == f"{JOB_ID}.2@3"
    assert seen == [(f"/v1/jobs/{JOB_ID}/rollouts", {"attempt": 2, "step": 3, "sha256": "0" * 64})]


def test_solution_counts_as_stated_however_it_is_spaced() -> None:
    assert states_solution("So\n the answer  is 16. Done", solution="The answer is 16.".replace("T", "t"))
    assert not states_solution("The answer is 1.", solution="The answer is 16.")
