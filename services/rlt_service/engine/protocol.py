"""The engine's contract: generate, score, load, health, drain. All above it sees only this, ids in and ids out."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from rlt_core.tokens import SequenceCodec


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine is, for answers, /v1/capabilities and logs."""

    name: str
    """`vllm` or `fake`; stands in every answer."""
    version: str
    base_model: str
    dtype: str
    device: str
    max_model_len: int
    """Longest sequence, prompt and completion together, in tokens."""
    max_lora_rank: int
    scoring: Literal["worker", "plain", "fake"]
    """`worker`: our scoring worker proved itself at start; `plain`: it did not, only temperature 1 can be scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRef:
    """A LoRA version on disk. `version` (`algebra@3`) is never reused, so neither are cache entries."""

    version: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FullRef:
    """A fully trained version on disk: every weight of its base, changed. It takes an engine of its own."""

    version: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Which weights an engine holds: those of a base, or those of a fully trained version of it."""

    base_model: str
    full: FullRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """Sample completions of one prompt until the stop text. `adapter` None is the untrained base."""

    prompt_token_ids: Sequence[int]
    adapter: AdapterRef | None
    n: int
    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None
    stop_text: str
    """The closing tag: a completion ends with the token that completes it. Empty: only an end token ends it."""
    top_k: int = 0
    """Tokens that are sampled from; 0 is all of them. Log-probs are of what may be sampled, as with `top_p`."""
    further_stops: Sequence[str] = ()
    """Texts that end a completion as the stop text does."""
    cache_salt: str | None = None
    """Prefixes are shared with what has the same one alone: how fast an answer comes would tell what others asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One sampled completion: everything that was generated, the tokens of the stop text included."""

    index: int
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Natural logs of each token at the sampling temperature (at 1 for greedy)."""
    finish_reason: Literal["stop", "length", "abort"]
    cached_tokens: int = 0
    """Tokens of the prompt that were not computed for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionDelta:
    """Tokens of one completion that have been sampled since its last delta; never none."""

    index: int
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateResult:
    """All completions of one request, by one version."""

    completions: tuple[Completion, ...]
    cached_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceScoreRequest:
    """Ask for log p(token_ids[i] | token_ids[:i]) for i in [start, len(token_ids)), logits divided by temperature."""

    token_ids: Sequence[int]
    start: int
    """First wanted position, at least 1."""
    temperature: float
    adapter: AdapterRef | None
    cache_salt: str | None = None
    """As of a GenerateRequest; scores share with scores alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceScoreResult:
    """Natural logs, exactly one for each wanted position, all finite."""

    logprobs: tuple[float, ...]
    cached_tokens: int
    rescored: bool = False
    """Whether a cached prefix reached into the wanted positions, so that all was computed again without the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """How things stand before an engine: sequences, or with scores the sequences of calls."""

    name: str
    """`generate`, `score`, or `any` where one line stands for both."""
    running: int
    waiting: int
    waited: Mapping[str, int]
    """Turns that began after at most so many seconds, cumulative, by the bound in seconds and `+Inf`."""
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """Whether the engine answers, what it has in hand, which adapters it was asked to load."""

    alive: bool
    detail: str
    in_flight: int
    loaded_versions: tuple[str, ...]
    queues: tuple[QueueState, ...] = ()
    cache_use: float | None = None
    """Share of the room for keys and values that is taken, 0 to 1; None where the engine has none, or does not say."""


class Engine(Protocol):
    """One model in memory with its LoRA versions; may play teacher and student at once."""

    @property
    def info(self) -> EngineInfo:
        """What this engine is; valid after start()."""
        ...

    @property
    def codec(self) -> SequenceCodec:
        """Text to ids for this model's tokenizer; valid after start()."""
        ...

    async def start(self) -> None:
        """Load the model and prove the scoring worker; raises ConfigurationError saying what to change."""
        ...

    async def stop(self) -> None:
        """End every process of the engine; repeatable."""
        ...

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample `n` completions; cancelling the caller aborts them. Raises EngineUnavailableError."""
        ...

    def generate_stream(self, request: GenerateRequest) -> AsyncGenerator[CompletionDelta | Completion]:
        """Yield tokens as they are sampled, and each completion once it is whole; closing the generator aborts."""
        ...

    async def score(self, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
        """Score sequences as one batch. Raises ScoringError for a missing, surplus or non-finite log-prob."""
        ...

    def holding(self, adapter: AdapterRef | None) -> AbstractAsyncContextManager[None]:
        """Load a version, and keep it loaded until the block ends, whatever else wants its place.

        Raises InvalidAdapterError, EngineUnavailableError where nothing gives way in time.
        """
        ...

    async def load(self, adapter: AdapterRef | None) -> None:
        """Load a version and prove that it answers with finite log-probs; None proves the engine's own weights.

        Raises InvalidAdapterError or, of the own weights, InvalidWeightsError.
        """
        ...

    async def take_up(self, full: FullRef) -> None:
        """Take other weights of the same base in place of its own, with nothing in flight, and forget what it cached.

        Raises InvalidWeightsError or EngineUnavailableError; the engine may then hold weights in part, and answers
        nothing until it is started anew.
        """
        ...

    async def health(self) -> EngineHealth:
        """Report without touching the model."""
        ...

    async def drain(self, *, timeout_s: float) -> None:
        """Refuse new requests, wait for those in flight up to `timeout_s`, then abort the rest."""
        ...
