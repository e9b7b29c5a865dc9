"""A shard is read as it was written or not at all; the index grows in order; nothing that was done is done again."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rlt_core.collected import (
    FOLDER,
    INDEX,
    read_all,
    read_head,
    read_index,
    read_lines,
    shard_name,
    shard_questions,
)
from rlt_core.schemas.datasets import DatasetRow
from rlt_train.collecting.shards import ShardBody, ShardLog
from tests.train.collecting.parts import JOB, answered, row, sample

TEACHER, STUDENT = "algebra@3", "tiny@0"


def folder_of(root: Path, attempt: int) -> Path:
    return root / f"attempt-{attempt}" / FOLDER


def log(root: Path, attempt: int, *, teacher: str = TEACHER, job: str = JOB) -> ShardLog:
    return ShardLog(folder_of(root, attempt), job_id=job, teacher=teacher, student=STUDENT)


def take_up(root: Path, attempt: int, *, teacher: str = TEACHER, job: str = JOB) -> tuple[list[int], list[str]]:
    """Start an attempt; gives the shards that it found whole, and what it said of others."""
    earlier, said = [folder_of(root, each) for each in range(attempt - 1, 0, -1)], list[str]()
    heads = list(log(root, attempt, teacher=teacher, job=job).take_up(earlier, report=said.append))
    return [head.shard for head in heads], said


def body(*numbers: int) -> ShardBody:
    return ShardBody(
        rows=[row(number) for number in numbers],
        counts={"rows": len(numbers)},
        sums={},
        cost={},
        answered=[answered(number, sample(0)) for number in numbers],
    )


def ids(lines: Sequence[bytes]) -> list[str | None]:
    return [DatasetRow.model_validate_json(line).id for line in lines]


def begun(root: Path) -> ShardLog:
    made = log(root, 1)
    assert list(made.take_up([], report=print)) == []
    return made


def test_the_index_names_a_shard_once_all_before_it_are_whole(tmp_path: Path) -> None:
    made, folder = begun(tmp_path), folder_of(tmp_path, 1)
    made.finish(1, body(2, 3))
    assert read_index(folder) == []
    made.finish(0, body(0, 1))
    made.finish(2, body(4))
    assert [(line.shard, line.rows) for line in read_index(folder)] == [(0, 2), (1, 2), (2, 1)]


def test_a_window_of_rows_reaches_over_shards_and_an_empty_one(tmp_path: Path) -> None:
    made, folder = begun(tmp_path), folder_of(tmp_path, 1)
    for shard, numbers in enumerate([(0, 1), (), (2, 3, 4), (5,)]):
        made.finish(shard, body(*numbers))
    index = read_index(folder)
    assert ids(list(read_lines(folder, index, offset=1, limit=3))) == ["r1", "r2", "r3"]
    assert ids(list(read_lines(folder, index, offset=4, limit=9))) == ["r4", "r5"]
    assert list(read_lines(folder, index, offset=6, limit=9)) == []
    assert ids(b"".join(read_all(folder, index)).splitlines()) == [f"r{number}" for number in range(6)]


def test_a_line_of_the_index_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    made, folder = begun(tmp_path), folder_of(tmp_path, 1)
    made.finish(0, body(0))
    with (folder / INDEX).open("ab") as file:
        file.write(b'{"shard": 1, "ro')
    assert len(read_index(folder)) == 1


def test_a_shard_that_lost_bytes_is_not_made_part_of_a_dataset(tmp_path: Path) -> None:
    begun(tmp_path).finish(0, body(0, 1))
    folder = folder_of(tmp_path, 1)
    path, index = folder / shard_name(0), read_index(folder)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="where the index says"):
        list(read_all(folder, index))


def test_whole_shards_of_earlier_attempts_are_linked_and_not_copied(tmp_path: Path) -> None:
    first = begun(tmp_path)
    first.finish(0, body(0, 1))
    first.finish(2, body(4, 5))
    assert take_up(tmp_path, 2) == ([0, 2], [])
    for shard in (0, 2):
        old, new = (folder_of(tmp_path, each) / shard_name(shard) for each in (1, 2))
        assert old.samefile(new)
    assert [line.shard for line in read_index(folder_of(tmp_path, 2))] == [0]
    assert take_up(tmp_path, 3) == ([0, 2], [])


def test_a_shard_that_is_not_as_it_was_written_is_collected_anew_and_that_is_said(tmp_path: Path) -> None:
    first = begun(tmp_path)
    for shard in (0, 1, 2):
        first.finish(shard, body(shard))
    for shard, spoil in ((0, lambda text: text.replace(b"0 + 1?", b"9 + 1?")), (1, lambda text: text[4:])):
        path = folder_of(tmp_path, 1) / shard_name(shard)
        path.write_bytes(spoil(path.read_bytes()))
    found, said = take_up(tmp_path, 2)
    assert found == [2]
    assert [message.partition(": ")[2] for message in said] == [
        "shard-00000000.jsonl is not as it was written",
        "shard-00000001.jsonl does not say what it holds",
    ]


@pytest.mark.parametrize(
    ("other", "why"),
    [({"teacher": "algebra@4"}, "is of algebra@3"), ({"job": "job_" + "9" * 20}, f"is shard 0 of {JOB}")],
)
def test_a_shard_of_another_teacher_or_job_is_not_taken_up(tmp_path: Path, other: dict[str, str], why: str) -> None:
    begun(tmp_path).finish(0, body(0))
    found, said = take_up(tmp_path, 2, **other)
    assert (found, len(said)) == ([], 1)
    assert why in said[0]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    begun(tmp_path).finish(0, body(0))
    path = folder_of(tmp_path, 1) / shard_name(0)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    found, said = take_up(tmp_path, 2)
    assert (found, said) == ([], ["a shard of attempt-1 is collected anew: shard-00000000.jsonl is a link"])


def test_notes_of_an_open_shard_are_found_but_for_a_line_that_was_torn(tmp_path: Path) -> None:
    first, notes = begun(tmp_path), [answered(number, sample(0)) for number in (9, 11)]
    for note in notes:
        first.note(note, shard=1)
    with (folder_of(tmp_path, 1) / "open-00000001.jsonl").open("ab") as file:
        file.write(answered(12).model_dump_json().encode()[:-9])
    assert log(tmp_path, 2).notes([folder_of(tmp_path, 1)]) == {note.position: note for note in notes}


def test_a_whole_shard_needs_no_notes(tmp_path: Path) -> None:
    first = begun(tmp_path)
    first.note(answered(0, sample(0)), shard=0)
    first.finish(0, body(0))
    assert log(tmp_path, 2).notes([folder_of(tmp_path, 1)]) == {}
    assert read_head(folder_of(tmp_path, 1) / shard_name(0)).questions == 1


@pytest.mark.parametrize(("total", "size"), [(1, 8), (8_000, 8), (50_000, 50), (1_000_000, 256)])
def test_shards_are_few_files_and_appear_soon(total: int, size: int) -> None:
    assert shard_questions(total) == size
