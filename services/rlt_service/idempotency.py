"""Own what an `Idempotency-Key` does: the same call again gets the first answer and is not carried out again. ASGI.

Only answers of success are kept: a call that failed may be sent again, and is tried again. What is larger than a few
megabytes, and streams, are not kept.
"""

import asyncio
import hashlib
import logging
import re
from contextlib import suppress
from typing import Annotated

from fastapi import Depends, Header
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlt_core.errors import (
    IdempotencyKeyReusedError,
    InvalidRequestError,
    NotAvailableYetError,
    PayloadTooLargeError,
    RltError,
    UnavailableError,
)
from rlt_service.access.authentication import begin_visit
from rlt_service.control.upload import MAX_AROUND_BYTES
from rlt_service.fingerprints import Digest, FormDigest, form_boundary
from rlt_service.problems import answer_of
from rlt_service.settings import Settings
from rlt_service.store.idempotency import CALL, FirstAnswer, FirstAnswers, KeyedCall, in_progress

LOGGER = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_KEPT_BYTES = 4 * 2**20
"""Largest answer that is kept."""
_KEPT_HEADERS = ("content-type", "location", "rlt-teacher-version", "rlt-student-version")
KEY_PATTERN = r"^[\x21-\x7e]{1,255}$"
_KEY = re.compile(KEY_PATTERN.strip("^$"))
_METHODS = frozenset({"POST", "PUT", "DELETE"})


async def described(
    key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            pattern=KEY_PATTERN,
            description="The same call again with the same key gets the first answer.",
        ),
    ] = None,
) -> None:
    """Tell the OpenAPI file of the header; the layer around the app acts on it."""


Once = Depends(described)


def refuse_key(headers: Headers, *, of: str) -> None:
    """Raise NotAvailableYetError for a call whose answer is not kept: a stream, or a batch that may fail in parts."""
    if HEADER in headers:
        raise NotAvailableYetError(f"{HEADER} is not available yet with {of}: leave it out", param=f"/{HEADER}")


class IdempotentCalls:
    """Carries a call with a key out once: a process knows what it runs, the database keeps two from making it twice."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        key = Headers(scope=scope).get(HEADER) if scope["type"] == "http" else None
        if key is None or scope["method"] not in _METHODS:
            await self._app(scope, receive, send)
            return
        try:
            # An answer is its own caller's alone: another's same key names another call.
            caller = await begin_visit(HTTPConnection(scope))
            _check(key)
            if caller is not None:
                key = hashlib.sha256(f"{caller.id} {key}".encode()).hexdigest()
            if key in self._running:
                raise in_progress(key)
            self._running.add(key)
            try:
                await self._once(key, scope, receive, send)
            finally:
                self._running.discard(key)
        except RltError as error:
            await answer_of(error, request_id=scope["state"]["request_id"])(scope, receive, send)

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        services = scope["app"].state.services
        answers, body = FirstAnswers(services.database), _Body(scope, receive)
        first = await asyncio.to_thread(answers.find, key)
        if first is not None:
            await (await _again(first, key, body, settings=services.settings))(scope, receive, send)
            return
        sent = _Sent(send)
        token = CALL.set(KeyedCall(key=key, fingerprint=body.fingerprint))
        try:
            await self._app(scope, body.receive, sent.send)
        finally:
            CALL.reset(token)
        if sent.refusal:
            # Another server may have had the same call at the same time, and what it made is why this one was refused.
            with suppress(UnavailableError):
                first = await asyncio.to_thread(answers.find, key)
            if first is None:
                await sent.refuse()
            else:
                await (await _again(first, key, body, settings=services.settings))(scope, receive, send)
        elif sent.is_kept:
            answer = FirstAnswer(
                fingerprint=body.fingerprint(), status=sent.status, headers=sent.headers, body=bytes(sent.body)
            )
            try:
                await asyncio.to_thread(answers.save, key, answer)
            except RltError as error:  # it has been answered; what it made has kept its answer itself
                LOGGER.warning("the answer to a call with a key was not kept as it was sent: %s", error)


async def _again(first: FirstAnswer, key: str, body: "_Body", *, settings: Settings) -> Response:
    """Give the first answer, for the same call; raises IdempotencyKeyReusedError for another one."""
    await body.read(most=max(settings.max_dataset_bytes, settings.max_body_bytes) + MAX_AROUND_BYTES)
    if first.fingerprint not in (body.head, body.fingerprint()):
        raise IdempotencyKeyReusedError(
            f"{HEADER} {key!r} was used for another call: choose a new key for each", param=f"/{HEADER}"
        )
    return Response(first.body, status_code=first.status, headers={**first.headers, REPLAYED: "true"})


class _Body:
    """A call's body as it comes, and the hash of the whole call; nothing of it is kept."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        head = f"{scope['method']} {scope['path']}?".encode() + scope["query_string"] + b"\n"
        self.head = hashlib.sha256(head).hexdigest()
        """Hash of the call without its body: what names a call that reads none."""
        boundary = form_boundary(Headers(scope=scope).get("content-type", ""))
        self._is_form = boundary is not None
        self._digest: Digest = hashlib.sha256(head) if boundary is None else FormDigest(head, boundary=boundary)
        self._whole = False

    async def receive(self) -> Message:
        """Pass a message on."""
        message = await self._receive()
        if message["type"] == "http.request":
            await self._take(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        return message

    async def _take(self, chunk: bytes) -> None:
        if self._is_form:  # to take it apart is slow enough for others to notice
            await asyncio.to_thread(self._digest.update, chunk)
        else:
            self._digest.update(chunk)

    async def read(self, *, most: int) -> None:
        """Read to the end, from where others left off; raises PayloadTooLargeError."""
        size, more = 0, not self._whole
        while more:
            message = await self.receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            if size > most:
                raise PayloadTooLargeError(f"the body is larger than {most} bytes")

    def fingerprint(self) -> str:
        """Hash method, path, query and body (of a form, its parts); no body where nobody has read it to its end."""
        return self._digest.hexdigest() if self._whole else self.head


class _Sent:
    """An answer on its way, remembered; a refusal (4xx) waits until `refuse`."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.refusal: list[Message] = []
        self._whole = False

    @property
    def is_kept(self) -> bool:
        """Whether it is one that the same call gets again."""
        streams = self.headers.get("content-type", "").startswith("text/event-stream")
        return self._whole and 200 <= self.status < 300 and not streams and len(self.body) <= MAX_KEPT_BYTES

    async def send(self, message: Message) -> None:
        """Remember a message, and pass it on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = Headers(raw=message["headers"])
            self.headers = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
        elif message["type"] == "http.response.body":
            if len(self.body) <= MAX_KEPT_BYTES:
                self.body += message.get("body", b"")
            self._whole = not message.get("more_body", False)
        if 400 <= self.status < 500:
            self.refusal.append(message)
        else:
            await self._send(message)

    async def refuse(self) -> None:
        """Send what waits."""
        for message in self.refusal:
            await self._send(message)


def _check(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise InvalidRequestError(
            f"{HEADER} is 1 to 255 visible ASCII characters: a random UUID is a good one", param=f"/{HEADER}"
        )
