"""What all wire types share: strict fields, ids, UTC times, the list envelope, names and versions."""

import re
import secrets
from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""A teacher's, student's or alias's name: can be no path, no version, no job."""

VERSION_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}@(0|[1-9][0-9]{0,8})$"
ROLLOUT_PATTERN = r"^job_[a-z0-9]{16,32}\.[1-9][0-9]{0,5}@(0|[1-9][0-9]{0,8})$"
"""A rollout adapter of (job, attempt, step): callable by exactly this name, in no list."""


MIN_TEMPERATURE = 0.01
"""Coldest sampling and scoring: vLLM takes less for 0.01, and logits divided by next to nothing overflow."""


def _iso_utc(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


UtcTime = Annotated[datetime, PlainSerializer(_iso_utc, return_type=str, when_used="json")]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Version = Annotated[str, Field(pattern=VERSION_PATTERN)]
Role = Literal["teacher", "student"]
ItemT = TypeVar("ItemT")


class WireModel(BaseModel):
    """A JSON body of the contract: unknown fields and non-finite numbers are refused."""

    model_config = ConfigDict(
        extra="forbid", allow_inf_nan=False, protected_namespaces=(), use_attribute_docstrings=True
    )


class RequestModel(WireModel):
    """A body of a caller: each value is of the JSON type that the contract says, and none is converted to it.

    `"5"` is no number and 1 no boolean: who sends them means something else, or has it wrong.
    """

    model_config = ConfigDict(strict=True)


class Page(WireModel, Generic[ItemT]):
    """One page of a list, newest first."""

    object: Literal["list"] = "list"
    data: list[ItemT]
    has_more: bool = False
    last_id: str | None = None


class VersionRef(WireModel):
    """Which version made all of this answer."""

    version: str
    base_model: str | None = None


class EngineRef(WireModel):
    """Which engine computed this answer; `fake` is a test double and says so."""

    name: str
    version: str


def new_id(prefix: str) -> str:
    """Make a unique id such as `job_3f0c…` (80 random bits, lower-case hex)."""
    return f"{prefix}_{secrets.token_hex(10)}"


def now_utc() -> datetime:
    """Read the wall clock, in UTC; for display only, nothing is decided by it."""
    return datetime.now(tz=UTC)


def split_version(version: str) -> tuple[str, int]:
    """Split `algebra@3` into its name and number; raises ValueError on any other form."""
    if not (re.fullmatch(VERSION_PATTERN, version) or re.fullmatch(ROLLOUT_PATTERN, version)):
        raise ValueError(f"{version!r} is not of the form name@number")
    name, _, number = version.rpartition("@")
    return name, int(number)
