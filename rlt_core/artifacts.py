"""Own what an adapter on disk is: its two files, and the hash that trainer, store and engine agree on. Stdlib only."""

import hashlib
from pathlib import Path

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
_READ_BYTES = 1 << 20


def adapter_sha256(folder: Path) -> str:
    """Hash an adapter's files (name, size, content, in the order of ADAPTER_FILES), as lower-case hex.

    Other files in the folder do not count. Raises OSError where one of the two cannot be read.
    """
    digest = hashlib.sha256()
    for name in ADAPTER_FILES:
        with (folder / name).open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(0)
            digest.update(f"{name}:{size}\n".encode())
            while block := handle.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest()
