"""Read weights before an engine does: no links, no code, whole safetensors files, every number finite. No torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open

_CODE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py", ".so"})
# dtype in the file: (unsigned integer of its width, its exponent bits); all exponent bits set is inf or NaN
_EXPONENTS: dict[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
_CHUNK_BYTES = 1 << 26


class UnfitError(Exception):
    """Carries one fault to whoever validates, and names the version."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def check_folder(folder: Path, *, needs: Sequence[str], remedy: str) -> None:
    """Raise UnfitError for a link, a file that can carry code, or a file of `needs` that is not there."""
    if folder.is_symlink() or not folder.is_dir():
        raise UnfitError("is no folder (links are not followed)", "Name the folder that holds the files.")
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            raise UnfitError(f"holds a link, {path.name}", "Copy the file itself into the folder.")
        if path.suffix in _CODE_SUFFIXES:
            raise UnfitError(f"holds {path.name}, which can carry code", "Save the weights as safetensors only.")
    for name in needs:
        if not (folder / name).is_file():
            raise UnfitError(f"holds no {name}", remedy)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; what is none reads as empty. Raises UnfitError for what is no JSON."""
    try:
        parsed: object = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"has a {path.name} that is no JSON ({error})", "Save it again.") from error
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}


def read_header(path: Path) -> dict[str, Any]:
    """Prove a safetensors file's header and give its entries by tensor: dtype, shape, data_offsets."""
    header, _ = _header(path)
    if not header:
        raise UnfitError(f"holds no tensor in {path.name}", "Save it again.")
    return header


def check_finite(path: Path) -> None:
    """Raise UnfitError where a number of the file is NaN or infinite, or of a kind that is not read."""
    header, start = _header(path)
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=start)
    for name, entry in header.items():
        if entry["dtype"] not in _EXPONENTS:
            raise UnfitError(f"holds {name!r} as {entry['dtype']}", f"Save it as one of {', '.join(_EXPONENTS)}.")
        integer, exponent = _EXPONENTS[entry["dtype"]]
        first, end = entry["data_offsets"]
        for begin in range(first, end, _CHUNK_BYTES):
            bits = np.frombuffer(data[begin : min(end, begin + _CHUNK_BYTES)], dtype=integer)
            if np.any((bits & exponent) == exponent):
                raise UnfitError(
                    f"holds NaN or infinity in {name!r}", "The training diverged: publish an earlier step."
                )


def _header(path: Path) -> tuple[dict[str, Any], int]:
    try:
        with safe_open(path, framework="numpy"):  # proves the header: sizes, offsets, no overlap
            pass
    except (SafetensorError, ValueError) as error:
        raise UnfitError(f"has a damaged {path.name} ({error})", "Publish it again.") from error
    with path.open("rb") as handle:
        header_bytes = int.from_bytes(handle.read(8), "little")
        header: dict[str, Any] = json.loads(handle.read(header_bytes))
    header.pop("__metadata__", None)
    return header, 8 + header_bytes
