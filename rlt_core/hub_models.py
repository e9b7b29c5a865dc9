"""Own how a base model of the Hugging Face hub is named: `hub:OWNER/NAME@COMMIT`, one state of it for good. Pure."""

import re
from dataclasses import dataclass

HUB_PREFIX = "hub:"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_REPOSITORY = re.compile(rf"{_PART}/{_PART}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubModel:
    """A repository at one commit."""

    repository: str
    """Owner and name."""
    commit: str

    @property
    def name(self) -> str:
        """Give the model's own name."""
        return self.repository.partition("/")[2]


def parse_hub_model(reference: str) -> HubModel:
    """Read a reference; raises ValueError that says what it lacks."""
    repository, _, revision = reference.removeprefix(HUB_PREFIX).partition("@")
    wanted = f"write {HUB_PREFIX}OWNER/NAME@COMMIT"
    if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise ValueError(f"{reference[:200]!r} names no repository of a hub: {wanted}")
    if not revision:
        raise ValueError(
            f"{reference[:200]!r} names no revision, and what a hub serves under a name changes: {wanted}, with the "
            "commit's 40 hexadecimal digits"
        )
    if not _COMMIT.fullmatch(revision):
        raise ValueError(
            f"the revision of {reference[:200]!r} is no commit of 40 hexadecimal digits in small letters; branches and "
            f"tags move: {wanted}"
        )
    return HubModel(repository=repository, commit=revision)
