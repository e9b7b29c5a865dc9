"""Own the shards of one attempt on disk: each question noted when it is answered, each shard durable when it is whole.

What earlier attempts left is taken up first: whole shards by hard links, questions of a shard that was open from its
notes. Nothing that was answered is asked for again. How a shard is read stands in rlt_core.collected.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rlt_core.collected import INDEX, IndexLine, ShardHead, shard_name, verified_head
from rlt_core.schemas.datasets import DatasetRow
from rlt_train.collecting.answers import Answered
from rlt_train.durable import make_folder, write_durable

_SHARDS = "shard-*.jsonl"
_NOTES = "open-*.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardBody:
    """What a whole shard holds."""

    rows: Sequence[DatasetRow]
    counts: dict[str, int]
    sums: dict[str, float]
    cost: dict[str, float]
    answered: Sequence[Answered]


class ShardLog:
    """One folder, written by one thread."""

    def __init__(self, folder: Path, *, job_id: str, teacher: str, student: str) -> None:
        """Take the attempt's own folder for shards, and what every shard must be of."""
        self._folder = folder
        self._job_id = job_id
        self._teacher = teacher
        self._student = student
        self._rows_of: dict[int, IndexLine] = {}
        """Whole shards that the index does not name yet."""
        self._indexed = 0

    def take_up(self, earlier: Sequence[Path], *, report: Callable[[str], None]) -> Iterator[ShardHead]:
        """Link each whole shard of earlier attempts (newest first) into this one's folder, and give its head.

        One that is not as it was written, or of another teacher, is told of and collected anew.
        """
        make_folder(self._folder)
        found: dict[int, IndexLine] = {}
        for folder in earlier:
            for path in sorted(folder.glob(_SHARDS)):
                try:
                    head = self._fitting(path)
                except (ValueError, OSError) as error:
                    report(f"a shard of {folder.parent.name} is collected anew: {error}")
                    continue
                if head.shard not in found:
                    _link(path, self._folder / path.name)
                    found[head.shard] = IndexLine(shard=head.shard, rows=head.rows, size=head.size)
                    yield head
        self._rows_of = found
        first = self._take_front()
        write_durable(self._folder / INDEX, b"".join(_line(line) for line in first))

    def notes(self, earlier: Sequence[Path]) -> dict[int, Answered]:
        """Give by position what earlier attempts noted of shards that were not whole yet; a torn line is left out."""
        found: dict[int, Answered] = {}
        for folder in earlier:
            for path in sorted(folder.glob(_NOTES)):
                for answered in _noted(path):
                    found.setdefault(answered.position, answered)
        return found

    def note(self, answered: Answered, *, shard: int) -> None:
        """Write down an answer: it outlives a killed process at once, a lost machine once its shard is whole."""
        with (self._folder / f"open-{shard:08}.jsonl").open("ab") as file:
            file.write(answered.model_dump_json().encode() + b"\n")

    def finish(self, shard: int, body: ShardBody) -> ShardHead:
        """Make a whole shard durable, name in the index all that now follow one another, give its head; OSError."""
        lines = [row.model_dump_json(exclude_none=True).encode() + b"\n" for row in body.rows]
        text = b"".join(lines)
        head = ShardHead(
            job_id=self._job_id,
            shard=shard,
            teacher=self._teacher,
            student=self._student,
            questions=len(body.answered),
            rows=len(lines),
            size=len(text),
            sha256=hashlib.sha256(text).hexdigest(),
            columns=_columns(body.rows),
            counts=body.counts,
            sums=body.sums,
            cost=body.cost,
            skipped=[each.skipped for each in body.answered if each.skipped is not None],
        )
        write_durable(self._folder / shard_name(shard), head.model_dump_json().encode() + b"\n" + text)
        self._rows_of[shard] = IndexLine(shard=shard, rows=head.rows, size=head.size)
        front = self._take_front()
        if front:
            with (self._folder / INDEX).open("ab") as file:
                file.write(b"".join(_line(line) for line in front))
                file.flush()
                os.fsync(file.fileno())
        (self._folder / f"open-{shard:08}.jsonl").unlink(missing_ok=True)
        return head

    def _fitting(self, path: Path) -> ShardHead:
        head = verified_head(path)
        if shard_name(head.shard) != path.name or head.job_id != self._job_id:
            raise ValueError(f"{path.name} is shard {head.shard} of {head.job_id}")
        if (head.teacher, head.student) != (self._teacher, self._student):
            raise ValueError(f"{path.name} is of {head.teacher}, scored by {head.student}")
        return head

    def _take_front(self) -> list[IndexLine]:
        front: list[IndexLine] = []
        while (line := self._rows_of.pop(self._indexed, None)) is not None:
            front.append(line)
            self._indexed += 1
        return front


def _line(line: IndexLine) -> bytes:
    return line.model_dump_json().encode() + b"\n"


def _columns(rows: Sequence[DatasetRow]) -> list[str]:
    named = ("id", "question", "solution", "answer", "reasoning_trace")
    there = {name for name in named for row in rows if getattr(row, name) is not None}
    return [name for name in named if name in there] + sorted({name for row in rows for name in row.metadata})


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _noted(path: Path) -> Iterator[Answered]:
    if path.is_symlink():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield Answered.model_validate_json(line)
        except ValidationError:  # the process was killed while it wrote
            continue
