"""Own how a JSON body is read: bounded while it comes, strict (no NaN, no name twice), one message for each fault.

Routes with a JSON body use `APIRouter(route_class=JsonRoute)`; uploads stream their body themselves.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import jiter
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from rlt_core.errors import BodyTimeoutError, MalformedRequestError, PayloadTooLargeError, UnsupportedMediaTypeError
from rlt_service.access.authentication import begin_visit
from rlt_service.access.scopes import checks_among, has_scope
from rlt_service.container import services_of
from rlt_service.validation import invalid_request

LONGEST_TOLD = 300
"""Characters that an answer says of what is no JSON: it may quote a name of any length."""
INLINE_BYTES = 2**18
"""Larger bodies are parsed in a thread: the event loop has other callers."""


class JsonRequest(Request):
    """A request whose JSON has been read and parsed before its route begins."""

    _content: bytes
    _parsed: Any

    async def read(self, *, max_bytes: int, max_s: float, max_depth: int) -> None:
        """Read and parse.

        Raises UnsupportedMediaTypeError, PayloadTooLargeError, BodyTimeoutError, MalformedRequestError.
        """
        check_json_type(self.headers.get("content-type"))
        check_not_compressed(self.headers.get("content-encoding", ""))
        check_announced_length(self.headers.get("content-length"), max_bytes=max_bytes)
        self._content = await read_bounded(self, max_bytes=max_bytes, max_s=max_s)
        if len(self._content) > INLINE_BYTES:
            self._parsed = await asyncio.to_thread(parse_json, self._content, max_depth=max_depth)
        else:
            self._parsed = parse_json(self._content, max_depth=max_depth)

    async def body(self) -> bytes:
        """Give the bytes, already read."""
        return self._content

    async def json(self) -> Any:
        """Give the value, already parsed."""
        return self._parsed


class JsonRoute(APIRoute):
    """A route that reads its JSON strictly and says what is wrong with it as a problem."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the usual handler."""
        handle = super().get_route_handler()
        field = self.body_field
        if field is None:
            return handle
        model: object = field.field_info.annotation

        async def strictly(request: Request) -> Response:
            settings = services_of(request).settings
            # Who calls is known before a byte is read; the route's own dependencies come after its body.
            for check in checks_among(self.dependencies):
                await check(request)
            max_bytes = settings.max_body_bytes
            if (key := await begin_visit(request)) is not None and not has_scope(key, "train"):
                max_bytes = min(max_bytes, settings.max_small_body_bytes)
            read = JsonRequest(request.scope, request.receive)
            await read.read(max_bytes=max_bytes, max_s=settings.max_body_s, max_depth=settings.max_json_depth)
            try:
                return await handle(read)
            except RequestValidationError as error:
                raise request_error(error, model=model) from error

        return strictly


def request_error(error: RequestValidationError, *, model: object = None) -> Exception:
    """Translate the framework's finding; locations begin with the part of the request."""
    findings: list[dict[str, Any]] = [dict(found) for found in error.errors()]
    in_body = [found for found in findings if found["loc"][:1] == ("body",)]
    if in_body:
        inside = [found | {"loc": tuple(found["loc"][1:])} for found in in_body]
        return invalid_request(inside, body=error.body, model=model)
    names = {str(found["loc"][-1]): found.get("input") for found in findings}
    return invalid_request([found | {"loc": tuple(found["loc"][1:])} for found in findings], body=names)


def check_json_type(content_type: str | None) -> None:
    """Raise UnsupportedMediaTypeError unless the type is JSON."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json")):
        return
    raise UnsupportedMediaTypeError(
        f"the body is {media_type[:80] or 'of no stated type'}: send JSON with Content-Type: application/json"
    )


def check_not_compressed(content_encoding: str) -> None:
    """Raise UnsupportedMediaTypeError for a compressed body: what it unpacks to could not be bounded by its length."""
    if content_encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaTypeError(f"the body is compressed ({content_encoding[:40]}): send it plain")


def check_announced_length(content_length: str | None, *, max_bytes: int) -> None:
    """Raise PayloadTooLargeError before a byte is read, where the length is announced."""
    if content_length is not None and content_length.isdecimal() and int(content_length[:20]) > max_bytes:
        raise _too_large(max_bytes)


async def read_bounded(request: Request, *, max_bytes: int, max_s: float) -> bytes:
    """Read a body that may come in chunks without a length; raises PayloadTooLargeError and BodyTimeoutError."""
    content = bytearray()
    deadline = asyncio.timeout(max_s)
    try:
        async with deadline:
            async for chunk in request.stream():
                content += chunk
                if len(content) > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise BodyTimeoutError(
            f"{len(content)} bytes of the body came within {max_s:g} s, and not its end: send it faster, or less"
        ) from None
    return bytes(content)


def parse_json(content: bytes, *, max_depth: int) -> object:
    """Parse UTF-8 JSON.

    Raises MalformedRequestError for anything else, NaN, Infinity, a name twice in an object, and nesting too deep.
    """
    if not content:
        raise MalformedRequestError("the body is empty: send a JSON object")
    try:
        value: object = jiter.from_json(content, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise MalformedRequestError(_unread(str(error), content)) from error
    if not is_shallow(value, max_depth=max_depth):
        raise MalformedRequestError(f"the body is nested deeper than the {max_depth} levels that this server reads")
    return value


def _unread(told: str, content: bytes) -> str:
    """Say what is wrong with a body that the parser did not take."""
    if told.startswith("Detected duplicate key"):  # which of the two was meant, nobody can tell
        return f"the body is read strictly: {_shortened(told)}; name each field once"
    hint = " (NaN and Infinity are not JSON)" if b"NaN" in content or b"Infinity" in content else ""
    return f"the body is not JSON: {_shortened(told)}{hint}"


def _shortened(text: str) -> str:
    half = LONGEST_TOLD // 2
    return text if len(text) <= LONGEST_TOLD else f"{text[:half]}…{text[-half:]}"


def is_shallow(value: object, *, max_depth: int) -> bool:
    """Tell whether lists and objects nest at most `max_depth` deep."""
    level = [value]
    for _ in range(max_depth):
        level = [child for container in level for child in _children(container)]
        if not level:
            return True
    return False


def _children(container: object) -> list[object]:
    """List the lists and objects that stand directly in a value."""
    if isinstance(container, dict):
        inner = list(cast("dict[str, object]", container).values())
    elif isinstance(container, list):
        inner = cast("list[object]", container)
    else:
        return []
    return [child for child in inner if isinstance(child, dict | list)]


def _too_large(max_bytes: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"the body is larger than the {max_bytes} bytes that this server takes: send less")
