"""Own the calls of an OpenAI-compatible endpoint outside: one chat, one answer; its failures by our errors' names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from rlt_core.errors import EngineUnavailableError, ForbiddenError, InvalidRequestError, NotFoundError

TIMEOUT_S = 1800.0
"""Longest silence: a model that reasons may write for minutes."""
THOUGHT_END = "</think>"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_AWAY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What was said: the reasoning, what came after it, how it ended."""

    trace: str
    final: str
    finished: bool
    prompt_tokens: int
    completion_tokens: int


class ChatEndpoint:
    """Asks `{url}/chat/completions`; threads may share it."""

    def __init__(self, url: str, *, key: str | None, transport: httpx.BaseTransport | None = None) -> None:
        """Open no connection yet; `transport` is for tests."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(TIMEOUT_S, connect=10.0)
        # No redirect is followed: the key is for this address alone. A proxy of the environment is none for loopback.
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=timeout,
            transport=transport,
            trust_env=httpx.URL(url).host not in LOOPBACK,
        )
        self._url = url

    def ask(
        self, messages: Sequence[dict[str, str]], *, model: str, temperature: float, max_tokens: int, seed: int
    ) -> Reply:
        """Have one chat answered.

        Raises EngineUnavailableError where it is away, ForbiddenError or NotFoundError where it refuses the caller or
        the model, InvalidRequestError for whatever else it refuses, or an answer that is none.
        """
        body = {"model": model, "messages": list(messages), "temperature": temperature, "max_tokens": max_tokens}
        try:
            answer = self._http.post("/chat/completions", json=body | {"seed": seed, "n": 1})
        except httpx.TransportError as error:
            raise EngineUnavailableError(f"{self._url} does not answer: {type(error).__name__}") from error
        self._check(answer, model=model)
        try:
            return _reply(answer.json())
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise InvalidRequestError(f"{self._url} answered what is no chat completion") from error

    def _check(self, answer: httpx.Response, *, model: str) -> None:
        if answer.is_success:
            return
        said = f"{self._url} answered {answer.status_code}: {answer.text[:300]}"
        if answer.status_code in _AWAY:
            raise EngineUnavailableError(said)
        if answer.status_code in (401, 403):
            raise ForbiddenError(f"{said}; look at the key that RLT_SOURCES names")
        if answer.status_code == 404:
            raise NotFoundError(f"{said}; is there a model {model!r}?")
        raise InvalidRequestError(said)


def _reply(body: Any) -> Reply:
    """Find the reasoning: in a field of its own, else before `</think>`, else the whole text is both."""
    choice, usage = body["choices"][0], body.get("usage") or {}
    message: dict[str, Any] = choice["message"]
    final = str(message.get("content") or "")
    apart = message.get("reasoning_content") or message.get("reasoning")
    trace = str(apart) if apart else final
    finished = choice.get("finish_reason") == "stop"
    if not apart and THOUGHT_END in final:
        trace, _, final = final.partition(THOUGHT_END)
        trace = trace.strip().removeprefix("<think>")
    elif not apart and final.lstrip().startswith("<think>"):
        trace, final, finished = final.strip().removeprefix("<think>"), "", False
    return Reply(
        trace=trace.strip(),
        final=final.strip(),
        finished=finished,
        prompt_tokens=int(usage.get("prompt_tokens", 0)),
        completion_tokens=int(usage.get("completion_tokens", 0)),
    )
