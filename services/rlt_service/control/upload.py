"""Own the way of an upload onto the disk: counted while it comes, raw or as one multipart file. No FastAPI types."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from rlt_core.errors import InvalidRequestError, MalformedRequestError, PayloadTooLargeError, UnsupportedMediaTypeError
from rlt_service.store.faults import storage_faults

JSONL_TYPES = (
    "application/jsonl",
    "application/x-ndjson",
    "application/ndjson",
    "application/x-jsonlines",
    "application/json-lines",
    "text/plain",
    "application/octet-stream",
)
MULTIPART = "multipart/form-data"
MAX_AROUND_BYTES = 2**16
"""Of a multipart body, beside its file."""
MAX_BOUNDARY_BYTES = 70
"""RFC 2046, section 5.1.1."""


class BodySink:
    """Writes a body to a file, and refuses it as soon as it has more than `max_bytes`."""

    def __init__(self, file: BinaryIO, *, max_bytes: int) -> None:
        self._file = file
        self._left_bytes = max_bytes
        self._max_bytes = max_bytes

    def write(self, chunk: bytes) -> None:
        """Append; raises PayloadTooLargeError."""
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise PayloadTooLargeError(
                f"the upload has more than the {self._max_bytes} bytes that this server takes: split it"
            )
        self._file.write(chunk)


class MultipartSink:
    """Takes a multipart body apart and writes its one file; anything else in it is refused."""

    def __init__(self, inner: BodySink, *, boundary: bytes, max_bytes: int) -> None:
        self._inner = inner
        self._left_bytes = max_bytes + MAX_AROUND_BYTES
        self._files = 0
        self._ended = False
        self._header = bytearray()
        self._value = bytearray()
        self._is_file = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": lambda data, start, end: self._inner.write(data[start:end]),
                "on_end": self._on_end,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Take the next bytes; raises MalformedRequestError for a broken body, PayloadTooLargeError."""
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:  # also what comes after the end, which nobody reads
            raise PayloadTooLargeError("the multipart body holds much besides its file: send the file alone")
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedRequestError(f"the multipart body is broken: {error}") from error

    def close(self) -> None:
        """Raise MalformedRequestError unless the body came whole, InvalidRequestError unless it held a file."""
        if not self._ended:
            raise MalformedRequestError("the multipart body ends before its closing boundary: send it again")
        if not self._files:
            raise InvalidRequestError("the multipart body holds no file: send one, `-F file=@rows.jsonl`")

    def _on_part_begin(self) -> None:
        self._is_file = False

    def _on_header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._is_file = b"filename" in options
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        if not self._is_file:
            raise InvalidRequestError("the multipart body holds a plain field: name and columns go into the query")
        self._files += 1
        if self._files > 1:
            raise InvalidRequestError("the multipart body holds a second file: a dataset is one file")

    def _on_end(self) -> None:
        self._ended = True


async def receive(chunks: AsyncIterator[bytes], path: Path, *, content_type: str, max_bytes: int) -> None:
    """Write an upload to `path`.

    Raises UnsupportedMediaTypeError for another type than JSONL_TYPES and multipart, what the sinks raise, and
    StorageUnavailableError.
    """
    kind, options = parse_options_header(content_type)
    media_type = kind.decode("latin-1")
    if media_type not in (*JSONL_TYPES, MULTIPART):
        raise UnsupportedMediaTypeError(
            f"a dataset cannot be read from {media_type or 'a body without a content type'}: "
            f"send JSONL as {JSONL_TYPES[0]}, or one file as {MULTIPART}"
        )
    boundary = options.get(b"boundary", b"")
    if media_type == MULTIPART and not 1 <= len(boundary) <= MAX_BOUNDARY_BYTES:
        raise MalformedRequestError(f"the content type names no boundary of 1 to {MAX_BOUNDARY_BYTES} characters")
    with storage_faults("store the upload"):
        file = await asyncio.to_thread(path.open, "wb")
        with file:
            plain = BodySink(file, max_bytes=max_bytes)
            if media_type == MULTIPART:
                await _receive_multipart(chunks, MultipartSink(plain, boundary=boundary, max_bytes=max_bytes))
            else:
                await _pump(chunks, plain.write)


async def _receive_multipart(chunks: AsyncIterator[bytes], parts: MultipartSink) -> None:
    await _pump(chunks, parts.write)
    parts.close()


async def _pump(chunks: AsyncIterator[bytes], write: Callable[[bytes], None]) -> None:
    async for chunk in chunks:
        await asyncio.to_thread(write, chunk)
