"""Own what a version on disk is: its files, and the hash that trainer, store and engine agree on. Stdlib only."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Kind = Literal["adapter", "full"]
"""A LoRA adapter, or a fully trained model: all weights, in an engine of their own."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
MODEL_CONFIG = "config.json"
WEIGHTS_SUFFIX = ".safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
_READ_BYTES = 1 << 20
_ROOMS = frozenset({"versions", "jobs", "imports", "incoming"})


def kind_of(folder: Path) -> Kind:
    """Tell what lies in a folder; an adapter where neither is there whole."""
    adapter = any((folder / name).exists() for name in ADAPTER_FILES)
    return "full" if not adapter and (folder / MODEL_CONFIG).exists() else "adapter"


def as_told(text: str, folder: Path) -> str:
    """Write a version's folder as below the artifact root wherever a text names it: callers hear of no path above."""
    for spelt in dict.fromkeys((folder, folder.resolve())):
        parts = spelt.parts
        first = next((place for place in reversed(range(len(parts))) if parts[place] in _ROOMS), len(parts) - 1)
        text = text.replace(str(spelt), "/".join(parts[first:]))
    return text


def version_files(folder: Path, kind: Kind) -> tuple[str, ...]:
    """Name the files that make a version, in the order in which they are hashed; raises OSError."""
    return ADAPTER_FILES if kind == "adapter" else weights_files(folder)


def version_sha256(folder: Path, kind: Kind) -> str:
    """Hash the files that make a version (name, size, content), as lower-case hex; raises OSError."""
    return _sha256(folder, version_files(folder, kind))


def adapter_sha256(folder: Path) -> str:
    """Hash an adapter's files (name, size, content, in the order of ADAPTER_FILES), as lower-case hex.

    Other files in the folder do not count. Raises OSError where one of the two cannot be read.
    """
    return _sha256(folder, ADAPTER_FILES)


def weights_files(folder: Path) -> tuple[str, ...]:
    """Name the files of a fully trained model, in the order in which they are hashed: config, index, weights.

    The tokenizer is not among them: it is the base's. Raises OSError where the folder cannot be read.
    """
    names = sorted(path.name for path in folder.iterdir() if path.suffix == WEIGHTS_SUFFIX)
    index = [WEIGHTS_INDEX] if (folder / WEIGHTS_INDEX).exists() else []
    return (MODEL_CONFIG, *index, *names)


def weights_sha256(folder: Path) -> str:
    """Hash a fully trained model's files (name, size, content), as lower-case hex; raises OSError."""
    return _sha256(folder, weights_files(folder))


def _sha256(folder: Path, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        with (folder / name).open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(0)
            digest.update(f"{name}:{size}\n".encode())
            while block := handle.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest()
