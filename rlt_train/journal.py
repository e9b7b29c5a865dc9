"""Own the journal of rollouts: on disk before the optimizer step that they cause, so that a resume trains on the same.

An engine with continuous batching gives no second time the same tokens; what was sampled and judged is therefore read
back. An entry is a line with the size and hash of what follows, then that. It holds for one job, one step and one
policy, named by its hash: what is not as it was written, or is another's, is never replayed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from pydantic import Field, ValidationError

from rlt_core.schemas.base import WireModel
from rlt_core.schemas.datasets import DatasetRow
from rlt_train.collected import RolloutT
from rlt_train.durable import make_folder, write_durable
from rlt_train.errors import UnfitJournalError
from rlt_train.rollout_kinds import JournalLine, RolloutKind


class _Entry(WireModel):
    job_id: str
    step: int
    policy_sha256: str
    version: str = ""
    """What sampled them, as it can be called while the job runs."""
    rollouts: list[dict[str, Any]]
    """As the kind writes them."""
    asked: list[str] = Field(default_factory=list[str])
    """Ids of the rows in their places; one may have fewer rollouts than others, or none. Empty: all that are there."""


class _Head(WireModel):
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled(Generic[RolloutT]):
    """What earlier attempts left of a step: its rollouts if they can be replayed, and what was wrong with others."""

    rollouts: tuple[RolloutT, ...] | None
    asked: tuple[str, ...] = ()
    """Ids of the rows that were asked for, in their places, where that was written."""
    faults: tuple[str, ...]
    """One for each attempt that had begun the step and left no rollouts of it that can be replayed."""


class Journal(Generic[RolloutT]):
    """One file a step: written in this attempt's folder, read from those of earlier attempts, the newest first."""

    def __init__(self, folder: Path, *, job_id: str, earlier: Sequence[Path], kind: RolloutKind[RolloutT]) -> None:
        """`kind` says how rollouts are written down and read back."""
        self._kind = kind
        self._folder = folder
        self._job_id = job_id
        self._earlier = tuple(earlier)

    def begin(self, *, step: int) -> None:
        """Note that a step's rollouts are asked for; until they are written, they can only be generated again."""
        make_folder(self._folder)
        (self._folder / _mark(step)).touch()

    def write(
        self,
        rollouts: Sequence[RolloutT],
        *,
        step: int,
        policy_sha256: str,
        version: str = "",
        asked: Sequence[str] = (),
    ) -> None:
        """Make a step's rollouts durable, those of the rows `asked` that are left; OSError where the disk is full."""
        lines = [self._kind.write(rollout).model_dump(mode="json") for rollout in rollouts]
        entry = _Entry(
            job_id=self._job_id,
            step=step,
            policy_sha256=policy_sha256,
            version=version,
            rollouts=lines,
            asked=list(asked),
        )
        body = entry.model_dump_json().encode() + b"\n"
        head = _Head(size=len(body), sha256=hashlib.sha256(body).hexdigest())
        make_folder(self._folder)
        write_durable(self._folder / _name(step), head.model_dump_json().encode() + b"\n" + body)
        (self._folder / _mark(step)).unlink(missing_ok=True)

    def recall(self, rows: Mapping[str, DatasetRow], *, step: int, policy_sha256: str) -> Recalled[RolloutT]:
        """Look for the rollouts that the same policy had at this step in an earlier attempt, the newest first."""
        faults: list[str] = []
        for folder in self._earlier:
            path = folder / _name(step)
            try:
                if path.is_symlink() or path.exists():
                    entry, lines = self._verified(path, rows, step=step, policy_sha256=policy_sha256)
                    rollouts = tuple(line.rollout(rows[line.row_id]) for line in lines)
                    return Recalled(rollouts=rollouts, asked=tuple(entry.asked), faults=tuple(faults))
                if (folder / _mark(step)).exists():
                    raise UnfitJournalError(f"{folder.parent.name} ended before it had written it")
            except UnfitJournalError as error:
                faults.append(str(error))
        return Recalled(rollouts=None, faults=tuple(faults))

    def _verified(
        self, path: Path, rows: Mapping[str, DatasetRow], *, step: int, policy_sha256: str
    ) -> tuple[_Entry, list[JournalLine[RolloutT]]]:
        name = f"that of {path.parent.parent.name}"
        entry, lines = _read(path, name=name, kind=self._kind)
        if (entry.job_id, entry.step) != (self._job_id, step):
            raise UnfitJournalError(f"{name} is of step {entry.step} of {entry.job_id}")
        if entry.policy_sha256 != policy_sha256:
            raise UnfitJournalError(f"{name} is of other weights")
        if any(row_id not in rows for row_id in (*(line.row_id for line in lines), *entry.asked)):
            raise UnfitJournalError(f"{name} holds questions that are not in the dataset")
        return entry, lines

    def forget(self, *, before: int) -> None:
        """Drop this attempt's entries of steps that no resume will ask for."""
        for path in self._folder.glob("step-*.json"):
            if int(path.stem.removeprefix("step-")) < before:
                path.unlink(missing_ok=True)


def _name(step: int) -> str:
    return f"step-{step}.json"


def _mark(step: int) -> str:
    return f"step-{step}.begun"


def _read(path: Path, *, name: str, kind: RolloutKind[RolloutT]) -> tuple[_Entry, list[JournalLine[RolloutT]]]:
    """Read an entry whose bytes are those that were written; UnfitJournalError says what else it is."""
    if path.is_symlink() or not path.is_file():
        raise UnfitJournalError(f"{name} is no file")
    try:
        first, _, body = path.read_bytes().partition(b"\n")
        head = _Head.model_validate(json.loads(first))
    except (ValidationError, ValueError, OSError) as error:
        raise UnfitJournalError(f"{name} does not say what it holds ({type(error).__name__})") from error
    if len(body) != head.size or hashlib.sha256(body).hexdigest() != head.sha256:
        raise UnfitJournalError(f"{name} is not as it was written")
    try:
        entry = _Entry.model_validate(json.loads(body))
        return entry, [kind.read(line) for line in entry.rollouts]
    except (ValidationError, ValueError) as error:
        raise UnfitJournalError(f"{name} was written by another version ({type(error).__name__})") from error
