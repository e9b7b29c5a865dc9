"""Own the journal of rollouts: on disk before the optimizer step that they cause, so that a resume trains on the same.

An engine with continuous batching gives no second time the same tokens; what was sampled and judged is therefore read
back. An entry holds for one policy alone, named by its hash: the same step of other weights finds nothing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from rlt_core.schemas.base import WireModel
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.score import CompletionTokens, Score
from rlt_train.durable import write_durable
from rlt_train.rollouts import Rollout


class _Line(WireModel):
    row_id: str
    text: str
    well_formed: bool
    tokens: CompletionTokens
    score: Score
    scored_by: str


class _Entry(WireModel):
    policy_sha256: str
    rollouts: list[_Line]


class Journal:
    """One file a step: written in this attempt's folder, read from those of earlier attempts, the newest first."""

    def __init__(self, folder: Path, *, earlier: Sequence[Path]) -> None:
        self._folder = folder
        self._earlier = tuple(earlier)

    def write(self, rollouts: Sequence[Rollout], *, step: int, policy_sha256: str) -> None:
        """Make a step's rollouts durable; raises OSError where the disk takes nothing more."""
        lines = [
            _Line(
                row_id=str(rollout.row.id),
                text=rollout.text,
                well_formed=rollout.well_formed,
                tokens=rollout.tokens,
                score=rollout.score,
                scored_by=rollout.scored_by,
            )
            for rollout in rollouts
        ]
        self._folder.mkdir(parents=True, exist_ok=True)
        entry = _Entry(policy_sha256=policy_sha256, rollouts=lines)
        write_durable(self._folder / _name(step), entry.model_dump_json().encode())

    def read(self, rows: Mapping[str, DatasetRow], *, step: int, policy_sha256: str) -> tuple[Rollout, ...] | None:
        """Give the rollouts that the same policy had at this step in an earlier attempt; None where there are none."""
        for folder in self._earlier:
            entry = _read(folder / _name(step))
            known = entry is not None and all(line.row_id in rows for line in entry.rollouts)
            if entry is not None and known and entry.policy_sha256 == policy_sha256:
                return tuple(_rollout(line, rows[line.row_id]) for line in entry.rollouts)
        return None

    def forget(self, *, before: int) -> None:
        """Drop this attempt's entries of steps that no resume will ask for."""
        for path in self._folder.glob("step-*.json"):
            if int(path.stem.removeprefix("step-")) < before:
                path.unlink(missing_ok=True)


def _name(step: int) -> str:
    return f"step-{step}.json"


def _read(path: Path) -> _Entry | None:
    if path.is_symlink() or not path.is_file():
        return None
    try:
        return _Entry.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError, OSError):
        return None  # as if it had not been written: the step is sampled again


def _rollout(line: _Line, row: DatasetRow) -> Rollout:
    return Rollout(
        row=row,
        text=line.text,
        well_formed=line.well_formed,
        tokens=line.tokens,
        score=line.score,
        scored_by=line.scored_by,
    )
