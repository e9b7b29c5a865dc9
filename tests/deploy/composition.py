"""Read a compose file as Docker does: merge keys, `!reset`, `!override`, and later files over earlier ones."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "docker-compose.yml"
CPU = ROOT / "docker" / "compose.cpu.yml"
SHARED = ROOT / "docker" / "compose.shared-engine.yml"


@dataclass(frozen=True, slots=True)
class Instead:
    """A value that takes the place of an earlier file's; None takes it away."""

    value: Any


class ComposeLoader(yaml.SafeLoader):
    """YAML with compose's two tags."""


def _reset(loader: yaml.SafeLoader, node: yaml.Node) -> Instead:
    return Instead(None)


def _override(loader: yaml.SafeLoader, node: yaml.Node) -> Instead:
    assert isinstance(node, yaml.MappingNode)
    return Instead(loader.construct_mapping(node, deep=True))


ComposeLoader.add_constructor("!reset", _reset)
ComposeLoader.add_constructor("!override", _override)


def merged(earlier: Any, later: Any) -> Any:
    """Lay a later file over an earlier one: mappings by key, lists one after the other, else the later."""
    if isinstance(later, Instead):
        return later.value
    if isinstance(earlier, dict) and isinstance(later, dict):
        keys = dict.fromkeys([*earlier, *later])
        found = {key: merged(earlier.get(key), later[key]) if key in later else earlier[key] for key in keys}
        return {key: value for key, value in found.items() if value is not None}
    if isinstance(earlier, list) and isinstance(later, list):
        return [*earlier, *later]
    return later


@functools.cache
def composed(*files: Path) -> dict[str, Any]:
    """Give the composition of files, without the extensions (`x-…`) that only they use; not to be changed."""
    found: Any = {}
    for file in files:
        found = merged(found, yaml.load(file.read_text(encoding="utf-8"), ComposeLoader))
    return {key: value for key, value in found.items() if not key.startswith("x-")}


def services_of(*files: Path) -> dict[str, dict[str, Any]]:
    """Give the services that start without a profile."""
    return {name: one for name, one in composed(*files)["services"].items() if "profiles" not in one}


def seconds(duration: str) -> float:
    """Read a duration as compose writes it."""
    parts = re.findall(r"(\d+)(h|m|s)", duration)
    return float(sum(int(count) * {"h": 3600, "m": 60, "s": 1}[unit] for count, unit in parts))
