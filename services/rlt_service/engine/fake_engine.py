"""A deterministic double of the engine for tests: real tokens of a byte tokenizer, log-probs by a rule, no model.

Log-prob of a token, natural log: `SEEN` where the same id stands earlier in the sequence, else `UNSEEN`; times
`1 - 0.05 · min(number, 10)` for the version `name@number` (so later versions find everything likelier, the base is
number 0; a fully trained version's number comes from its hash); divided by the temperature (temperature 0 counts as 1).
Generation and scoring follow the same rule, and `top_k` 1 writes what temperature 0 does; nothing else cuts off.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import count

from rlt_core.errors import EngineUnavailableError
from rlt_core.tokens import SequenceCodec
from rlt_service.engine.adapters import AdapterRules, validate_adapter
from rlt_service.engine.admission import Admission, cancel_all, result_of
from rlt_service.engine.fair_queue import Flow
from rlt_service.engine.full_weights import validate_full
from rlt_service.engine.gate import Gate, current_flow
from rlt_service.engine.pieces import Pieces, Report
from rlt_service.engine.protocol import (
    AdapterRef,
    Completion,
    CompletionDelta,
    EngineHealth,
    EngineInfo,
    FullRef,
    GenerateRequest,
    GenerateResult,
    SequenceScoreRequest,
    SequenceScoreResult,
    Weights,
)
from rlt_service.engine.request_checks import check_generate, check_score
from rlt_service.settings import Settings
from rlt_tokens import byte_codec
from rlt_tokens.byte_tokenizer import MERGES

SEEN = -0.1
UNSEEN = -2.0
MAX_RUNNING = 256
PIECE_TOKENS = 3
"""Tokens of a piece of a stream."""
_SUBJECTS = ("the first number", "the second number", "the sum", "the rest", "what is left", "the answer")
_VERBS = ("gives", "becomes", "leaves", "makes")
_BASE = Weights(base_model="fake")


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeOptions:
    """How the double behaves. A `…_share` is the share of completions that are so, drawn by their own seed."""

    weights: Weights = _BASE
    max_model_len: int = 8192
    max_lora_rank: int = 64
    format_id: str = "stratos@1"
    merges: tuple[str, ...] = MERGES
    """Of its tokenizer; others make another one."""
    delay_s: float = 0.0
    """Time that each completion and each score takes; a stream's pieces come evenly within it."""
    width: int = 4096
    """Sequences that are computed at the same time; more wait in the order in which they came, as inside vLLM."""
    max_running: int = MAX_RUNNING
    """Sequences that are let in at a time, fairly by call."""
    validate_adapters: bool = True
    """Whether adapters are read and checked as the real engine does."""
    base_name: str | None = None
    """The base that adapters must name, if they name one; null takes any."""
    unclosed_share: float = 0.0
    """These never close their explanation and end at `max_tokens`."""
    straddled_share: float = 0.0
    """In these a token holds the explanation's last character and the tag's first."""
    patience_s: float = 0.2
    """How long it may be silent, once wedged, before its health says so."""


class FakeEngine:
    """The Engine protocol without a model; `info.name` is `fake` and stands in every answer."""

    def __init__(self, options: FakeOptions | None = None) -> None:
        self._options = options or FakeOptions()
        self._weights = self._options.weights
        self._codec: SequenceCodec | None = None
        self._admission = Admission()
        self._gate = Gate.of_sequences(self._options.max_running)
        self._computing = asyncio.Semaphore(self._options.width)
        self._versions: dict[str, AdapterRef] = {}
        self._unseeded = count()
        self._died = False
        self._silent_since_s: float | None = None

    @classmethod
    def from_settings(cls, settings: Settings, weights: Weights) -> "FakeEngine":
        """Make the double that a service with `engine = fake` runs on."""
        return cls(
            FakeOptions(
                weights=weights,
                max_model_len=settings.max_model_len,
                max_lora_rank=settings.max_lora_rank,
                format_id=settings.format,
                max_running=settings.max_running or MAX_RUNNING,
                base_name="fake",
            )
        )

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return EngineInfo(
            name="fake",
            version="1",
            base_model=self._weights.base_model,
            dtype="float32",
            device="none",
            max_model_len=self._options.max_model_len,
            max_lora_rank=self._options.max_lora_rank,
            scoring="fake",
        )

    @property
    def codec(self) -> SequenceCodec:
        """Text to ids of the byte tokenizer; raises EngineUnavailableError before start()."""
        if self._codec is None:
            raise EngineUnavailableError("The engine is not running; try again shortly.", retry_after_s=5.0)
        return self._codec

    async def start(self) -> None:
        """Build the tokenizer and take requests; raises InvalidWeightsError as the real engine does."""
        if self._weights.full is not None:
            await asyncio.to_thread(validate_full, self._weights.full, base=None)
        self._codec = byte_codec(format_id=self._options.format_id, merges=self._options.merges)
        self._died = False
        self._silent_since_s = None
        self._admission.open_up()

    async def stop(self) -> None:
        """Take no more requests and end those in flight; repeatable."""
        await self._admission.drain(timeout_s=0.0)
        self._admission.close("has stopped")
        self._codec = None

    async def die(self) -> None:
        """Behave from now on as an engine whose process died, for tests of what is built on it."""
        self._died = True
        await self._admission.drain(timeout_s=0.0)
        self._admission.close("died")

    def wedge(self) -> None:
        """Behave from now on as an engine whose process hangs: it lives, and neither answers nor fails."""
        self._silent_since_s = time.monotonic()

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Write `n` completions; cancelling the caller aborts them."""
        tasks = await self._write(request, report=None)
        try:
            made = await asyncio.gather(*[result_of(task) for task in tasks])
        finally:
            await cancel_all(set(tasks))
        return GenerateResult(completions=tuple(made), cached_tokens=0)

    async def generate_stream(self, request: GenerateRequest) -> AsyncGenerator[CompletionDelta | Completion]:
        """Yield each completion in pieces and then whole; closing the generator aborts."""
        pieces = Pieces()
        tasks = await self._write(request, report=pieces.report)
        async with aclosing(pieces.until_done(tasks)) as made:
            async for piece in made:
                yield piece

    async def score(self, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
        """Score each sequence by the rule."""
        for request in requests:
            check_score(request, info=self.info, vocab_size=self.codec.vocab_size)
            await self._ensure(request.adapter)
        flow = current_flow()
        tasks = [self._admission.submit(self._score_one(request, flow=flow)) for request in requests]
        try:
            return list(await asyncio.gather(*[result_of(task) for task in tasks]))
        finally:
            await cancel_all(set(tasks))

    @asynccontextmanager
    async def holding(self, adapter: AdapterRef | None) -> AsyncGenerator[None]:
        """Check a version's files; here nothing is ever unloaded."""
        await self._ensure(adapter)
        yield

    async def load(self, adapter: AdapterRef | None) -> None:
        """Check a version's files as the real engine does; raises InvalidAdapterError."""
        if not self._admission.open:
            raise EngineUnavailableError("The engine is not running; try again shortly.", retry_after_s=5.0)
        await self._ensure(adapter)

    async def take_up(self, full: FullRef) -> None:
        """Answer from now on as these weights do; raises InvalidWeightsError, and then answers nothing more."""
        await self._admission.drain(timeout_s=0.0)
        self._admission.close("is taking up other weights")
        if self._codec is None or self._died:
            raise EngineUnavailableError("The engine is not running; try again shortly.", retry_after_s=5.0)
        await asyncio.to_thread(validate_full, full, base=None)
        self._weights = Weights(base_model=self._weights.base_model, full=full)
        self._admission.open_up()

    async def health(self) -> EngineHealth:
        """Report what is in hand."""
        since_s = self._silent_since_s
        hung = since_s is not None and time.monotonic() - since_s > self._options.patience_s
        return EngineHealth(
            alive=self._codec is not None and not self._died and not hung,
            detail="does not answer" if hung else self._admission.state,
            in_flight=self._admission.in_flight,
            loaded_versions=tuple(self._versions),
            queues=(self._gate.state("any"),),
        )

    async def drain(self, *, timeout_s: float) -> None:
        """Refuse new requests, wait for those in flight up to `timeout_s`, then abort the rest."""
        await self._admission.drain(timeout_s=timeout_s)

    async def _ensure(self, adapter: AdapterRef | None) -> None:
        if adapter is None or adapter.version in self._versions:
            return
        if self._options.validate_adapters:
            rules = AdapterRules(max_rank=self._options.max_lora_rank, base_name=self._options.base_name)
            await asyncio.to_thread(validate_adapter, adapter, rules=rules)
        self._versions[adapter.version] = adapter

    async def _write(self, request: GenerateRequest, *, report: Report | None) -> list["asyncio.Task[Completion]"]:
        """Begin the completions of a request; `report` hears of their tokens as they come."""
        check_generate(request, info=self.info, vocab_size=self.codec.vocab_size)
        await self._ensure(request.adapter)
        seed = next(self._unseeded) if request.seed is None else request.seed
        flow = current_flow()
        return [
            self._admission.submit(self._complete(request, index=i, seed=seed, flow=flow, report=report))
            for i in range(request.n)
        ]

    async def _work(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if self._silent_since_s is not None:
            await asyncio.Event().wait()

    async def _complete(
        self, request: GenerateRequest, *, index: int, seed: int, flow: Flow, report: Report | None
    ) -> Completion:
        greedy = request.temperature == 0.0 or request.top_k == 1
        dice = self._dice(request, index=0 if greedy else index, seed=0 if greedy else seed)
        solves = request.stop_text != self.codec.format.explanation_close
        whole = (self._solution if solves else self._explanation)(request, dice=dice)
        whole = self._until_stop(whole, stops=request.further_stops)
        ids = tuple(whole[: request.max_tokens])
        logprobs = rule_logprobs(
            [*request.prompt_token_ids, *ids],
            start=len(request.prompt_token_ids),
            temperature=request.temperature or 1.0,
            adapter=request.adapter,
            own=self._own,
        )
        async with self._gate.turn(flow), self._computing:
            if report is None:
                await self._work(self._options.delay_s)
            else:
                for start in range(0, len(ids), PIECE_TOKENS):
                    await self._work(self._options.delay_s * PIECE_TOKENS / len(ids))
                    end = start + PIECE_TOKENS
                    report(CompletionDelta(index=index, token_ids=ids[start:end], logprobs=logprobs[start:end]))
        finish_reason = "stop" if len(whole) <= request.max_tokens else "length"
        return Completion(index=index, token_ids=ids, logprobs=logprobs, finish_reason=finish_reason)

    def _dice(self, request: GenerateRequest, *, index: int, seed: int) -> random.Random:
        """Make dice that depend on weights (not on their name), prompt, seed and index, and on nothing else."""
        weights = None if request.adapter is None else request.adapter.sha256
        facts = repr((weights or self._own or None, tuple(request.prompt_token_ids), seed, index))
        return random.Random(hashlib.sha256(facts.encode()).digest())

    def _explanation(self, request: GenerateRequest, *, dice: random.Random) -> list[int]:
        """Write an explanation and its closing tag, or more than `max_tokens` without one."""
        straddled = dice.random() < self._options.straddled_share
        unclosed = dice.random() < self._options.unclosed_share
        steps = [f"{dice.choice(_SUBJECTS)} {dice.choice(_VERBS)} {dice.randrange(100)}" for _ in range(3)]
        text = f"Look: {'; '.join(steps)}"
        if unclosed:
            return self.codec.encode_text(f"{text}. " * (1 + request.max_tokens))[: request.max_tokens + 1]
        if straddled:
            return self.codec.encode_text(f"{text}.{request.stop_text}")
        return [*self.codec.encode_text(f"{text}\n"), *self.codec.encode_text(request.stop_text)]

    def _solution(self, request: GenerateRequest, *, dice: random.Random) -> list[int]:
        """Write a thought and a solution, a digit; without a stop text the solution alone; or one without an end."""
        form = self.codec.format
        if dice.random() < self._options.unclosed_share:
            return self.codec.encode_text("and so on " * (1 + request.max_tokens))[: request.max_tokens + 1]
        text = f"The answer is {dice.randrange(10)}."
        if request.stop_text or not form.solution_close:
            text = f"Let me see.{form.thought_close}\n\n{form.solution_open}{text}"
        return [*self.codec.encode_text(text), *self.codec.encode_text(request.stop_text)]

    def _until_stop(self, whole: list[int], *, stops: Sequence[str]) -> list[int]:
        """Cut after the token in which the first of the texts is whole, as a model is stopped there."""
        said = b""
        for length, piece in enumerate(self.codec.token_pieces(whole) if stops else [], start=1):
            said += piece
            if any(stop.encode() in said for stop in stops):
                return whole[:length]
        return whole

    async def _score_one(self, request: SequenceScoreRequest, *, flow: Flow) -> SequenceScoreResult:
        async with self._gate.turn(flow), self._computing:
            await self._work(self._options.delay_s)
        logprobs = rule_logprobs(
            request.token_ids,
            start=request.start,
            temperature=request.temperature,
            adapter=request.adapter,
            own=self._own,
        )
        return SequenceScoreResult(logprobs=logprobs, cached_tokens=0)

    @property
    def _own(self) -> int:
        """Give the number that the rule has for this engine's weights."""
        full = self._weights.full
        return 0 if full is None else 1 + int(full.sha256[:8], 16) % 9


def rule_logprobs(
    token_ids: Sequence[int], *, start: int, temperature: float, adapter: AdapterRef | None, own: int = 0
) -> tuple[float, ...]:
    """Log-probs of the tokens from `start` on by the rule in this module's first lines; `own` without an adapter."""
    number = own if adapter is None else int(adapter.version.rpartition("@")[2])
    factor = (1.0 - 0.05 * min(number, 10)) / temperature
    seen = set(token_ids[:start])
    logprobs: list[float] = []
    for token in token_ids[start:]:
        logprobs.append((SEEN if token in seen else UNSEEN) * factor)
        seen.add(token)
    return tuple(logprobs)
