"""Own what makes two calls the same: a hash of method, path, query, and body; of a form, its files alone. No I/O."""

import hashlib
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from rlt_service.control.upload import MAX_BOUNDARY_BYTES, MULTIPART


class Digest(Protocol):
    """A hash that takes what comes, piece by piece."""

    def update(self, chunk: bytes, /) -> None:
        """Take the next bytes."""
        ...

    def hexdigest(self) -> str:
        """Give the hash of all that came."""
        ...


def form_boundary(content_type: str) -> bytes | None:
    """Give the boundary of a form's parts; None where the body is none, or names none that is allowed."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    return boundary if kind.decode("latin-1") == MULTIPART and 1 <= len(boundary) <= MAX_BOUNDARY_BYTES else None


class FormDigest:
    """Hash of what the parts of a form hold, in their order: clients choose another boundary each time.

    Nothing is kept of a part but its hash. A form that is broken is the same as no other.
    """

    def __init__(self, head: bytes, *, boundary: bytes) -> None:
        self._whole = hashlib.sha256(head)
        self._part = hashlib.sha256()
        self._broken = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_part_data": lambda data, start, end: self._part.update(data[start:end]),
                "on_part_end": lambda: self._whole.update(self._part.digest()),
            },
        )

    def update(self, chunk: bytes, /) -> None:
        """Take the next bytes."""
        try:
            if not self._broken:
                self._parser.write(chunk)
        except FormParserError:
            self._broken = True

    def hexdigest(self) -> str:
        """Give the hash of all parts that have ended."""
        return "broken" if self._broken else self._whole.hexdigest()

    def _begin(self) -> None:
        self._part = hashlib.sha256()
