"""Own the name of what a spec asks for: a checkpoint is taken up only by a job whose spec has the same."""

import hashlib

from pydantic_core import to_json

from rlt_core.schemas.jobs import AnySpec
from rlt_core.schemas.training import TrainingBase

_FIRST = ("kind", "teacher", "student", "student_reduction")
_LAST = ("reward", "max_staleness", "save_every", "eval_every", "patience", "promote")
"""Of `rl`: where fields stood when its first checkpoints were written, which are taken up still."""


def spec_sha256(spec: AnySpec) -> str:
    """Hash what a spec asks for, without defaults: a field that a later version adds must not make it another spec.

    Nor must it matter where a field of `rl` is declared; other kinds go by the order in which they declare theirs.
    """
    told = spec.model_dump(mode="json", exclude_defaults=True)
    names = sorted(told, key=_place) if spec.kind == "rl" else list(told)
    return hashlib.sha256(to_json({name: told[name] for name in names})).hexdigest()


def _place(name: str) -> tuple[int, int]:
    """Order by groups; within those that are not listed, fields stay as they are declared."""
    if name in TrainingBase.model_fields:
        return 0, 0
    if name in _FIRST:
        return 1, _FIRST.index(name)
    return (3, _LAST.index(name)) if name in _LAST else (2, 0)
