"""Own the use case of /v1/chat/completions: resolve, encode, generate, read; whole or as a stream. No HTTP."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError, ModelNotFoundError
from rlt_core.schemas.base import Role, new_id
from rlt_core.schemas.chat import (
    AssistantMessage,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    ChatUsage,
    ChunkChoice,
    PromptTokensDetails,
)
from rlt_service import engine_calls
from rlt_service.chat.prompts import Chat, check_messages, encode_chat, thinks_as_trained
from rlt_service.chat.said import Said, SaidReader, logprobs_of
from rlt_service.engine.own_logprobs import logprob_temperature, scored_anew
from rlt_service.engine.protocol import Completion, CompletionDelta
from rlt_service.engine.request_checks import check_temperature
from rlt_service.engines import Engines
from rlt_service.in_hand import InHand, Load
from rlt_service.metrics import Metrics
from rlt_service.served import ServedVersion, Versions
from rlt_service.settings import Settings

_ROLES: tuple[Role, ...] = ("student", "teacher")
"""Students answer questions: where an alias means one of each, it is the student that is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chatter:
    """Lets any version write the next message of a chat."""

    settings: Settings
    versions: Versions
    engines: Engines
    in_hand: InHand
    metrics: Metrics

    async def complete(self, request: ChatRequest) -> ChatCompletion:
        """Sample answers by one version.

        Raises InvalidRequestError and its kinds, ModelNotFoundError, OverloadedError, EngineUnavailableError.
        """
        async with self._admitted(request) as chat:
            with self.in_hand.taken(chat.load):
                async with chat.engine.holding(chat.version.adapter):
                    made = (await engine_calls.generate(chat.engine, chat.asked)).completions
                    if chat.is_scored_anew:
                        made = await scored_anew(made, asked=chat.asked, engine=chat.engine)
            self.metrics.count_generated("chat", made, prompt_tokens=len(chat.prompt))
            choices = await asyncio.to_thread(_choices, chat, made)
            told = _Told.of(chat)
            return ChatCompletion(
                id=told.id,
                created=told.created,
                model=told.model,
                choices=choices,
                usage=_usage(chat, made),
                system_fingerprint=told.system_fingerprint,
            )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        """Sample answers by one version, and tell them while they are written; raises as `complete` does."""
        async with self._admitted(request) as chat:
            told, made = _Told.of(chat), list[Completion]()
            readers = [SaidReader(chat.engine.codec, stops=chat.stops, thinks=chat.thinks) for _ in range(request.n)]
            with self.in_hand.taken(chat.load):
                async with (
                    chat.engine.holding(chat.version.adapter),
                    aclosing(chat.engine.generate_stream(chat.asked)) as pieces,
                ):
                    begun = False
                    async for piece in pieces:
                        if not begun:
                            for index in range(request.n):
                                yield told.chunk(index, ChatDelta(role="assistant", content=""))
                            begun = True
                        reader = readers[piece.index]
                        if isinstance(piece, CompletionDelta):
                            said = reader.feed(piece.token_ids)
                        else:
                            said = reader.finish()
                            made.append(piece)
                        if (delta := _delta(said)) is not None:
                            yield told.chunk(piece.index, delta)
                        if isinstance(piece, Completion):
                            yield told.end(piece)
            self.metrics.count_generated("chat", made, prompt_tokens=len(chat.prompt))
            if request.stream_options is not None and request.stream_options.include_usage:
                yield told.usage(_usage(chat, made))

    @asynccontextmanager
    async def _admitted(self, request: ChatRequest) -> AsyncGenerator[Chat]:
        """Check and resolve a request, and hold the engine of its version until the block ends."""
        check_messages(request, max_characters=self.settings.max_text_characters)
        self.engines.some_ready()  # before anything is looked up: a starting server says so
        least = Load(requests=request.n, tokens=request.n * (request.limit or 1))
        with self.in_hand.reserved(least):
            version = await asyncio.to_thread(self._resolve, request.model)
        async with self.engines.lease(version) as engine:
            thinks = thinks_as_trained(request, version)
            with self.in_hand.reserved(least):
                prompt = await asyncio.to_thread(encode_chat, request, engine, thinks=thinks)
            chat = Chat(request=request, version=version, engine=engine, prompt=prompt, thinks=thinks)
            if chat.is_scored_anew:  # before anything is sampled whose log-probs this engine cannot give
                check_temperature(logprob_temperature(request.temperature), info=engine.info, param="/temperature")
            yield chat

    def _resolve(self, name: str) -> ServedVersion:
        """Find what a model's name means; raises ModelNotFoundError, InvalidRequestError at `/model`."""
        missing: list[str] = []
        for role in _ROLES:
            try:
                return self.versions.resolve(role, name)
            except ModelNotFoundError as error:
                missing.append(error.detail)
            except InvalidRequestError as error:
                raise InvalidRequestError(error.detail, param="/model") from error
        raise ModelNotFoundError(
            f"{name[:200]!r} cannot be called: {missing[0]} GET /v1/models lists every name.", param="/model"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What every part of one answer says of it."""

    id: str
    created: int
    model: str
    system_fingerprint: str

    @classmethod
    def of(cls, chat: Chat) -> "_Told":
        info = chat.engine.info
        return cls(
            id=new_id("chatcmpl"),
            created=int(time.time()),
            model=chat.version.version,
            system_fingerprint=f"{info.name}-{info.version}",
        )

    def chunk(self, index: int, delta: ChatDelta) -> ChatChunk:
        return self._with([ChunkChoice(index=index, delta=delta, finish_reason=None)])

    def end(self, completion: Completion) -> ChatChunk:
        return self._with(
            [ChunkChoice(index=completion.index, delta=ChatDelta(), finish_reason=completion.finish_reason)]
        )

    def usage(self, usage: ChatUsage) -> ChatChunk:
        return self._with([]).model_copy(update={"usage": usage})

    def _with(self, choices: list[ChunkChoice]) -> ChatChunk:
        return ChatChunk(
            id=self.id,
            object="chat.completion.chunk",
            created=self.created,
            model=self.model,
            choices=choices,
            system_fingerprint=self.system_fingerprint,
        )


def _delta(said: Said) -> ChatDelta | None:
    """Tell what is new, and nothing of what is not."""
    told = {"reasoning_content": said.thought, "content": said.content}
    new = {name: text for name, text in told.items() if text}
    return ChatDelta.model_validate(new) if new else None


def _choices(chat: Chat, completions: Sequence[Completion]) -> list[ChatChoice]:
    return [_choice(chat, completion) for completion in completions]


def _choice(chat: Chat, completion: Completion) -> ChatChoice:
    codec = chat.engine.codec
    reader = SaidReader(codec, stops=chat.stops, thinks=chat.thinks)
    first, last = reader.feed(completion.token_ids), reader.finish()
    return ChatChoice(
        index=completion.index,
        message=AssistantMessage(
            content=first.content + last.content,
            reasoning_content=first.thought + last.thought if chat.thinks else None,
        ),
        logprobs=logprobs_of(completion, codec=codec, stops=chat.stops) if chat.request.logprobs else None,
        finish_reason=completion.finish_reason,
    )


def _usage(chat: Chat, completions: Sequence[Completion]) -> ChatUsage:
    prompt, written = len(chat.prompt), sum(len(made.token_ids) for made in completions)
    # Of the first: later samples may have found in the cache what the first one put there.
    cached = next((made.cached_tokens for made in completions if made.index == 0), 0)
    return ChatUsage(
        prompt_tokens=prompt,
        completion_tokens=written,
        total_tokens=prompt + written,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=cached),
    )
