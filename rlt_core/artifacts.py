"""Own what a version on disk is: its files, and the hash that trainer, store and engine agree on. Stdlib only."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
MODEL_CONFIG = "config.json"
WEIGHTS_SUFFIX = ".safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
_READ_BYTES = 1 << 20


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
