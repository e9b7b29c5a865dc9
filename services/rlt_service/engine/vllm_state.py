"""A vLLM engine between start and stop: its parts, and the one way to send a sequence through it."""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count

import psutil
from vllm import RequestOutput, SamplingParams
from vllm.exceptions import VLLMClientError, VLLMError
from vllm.inputs.engine import tokens_input
from vllm.lora.request import LoRARequest
from vllm.v1.engine.async_llm import AsyncLLM

from rlt_core.errors import EngineUnavailableError, InvalidRequestError
from rlt_core.tokens import SequenceCodec
from rlt_service.engine.cache_watch import CacheWatch
from rlt_service.engine.protocol import EngineInfo
from rlt_service.engine.pulse import Pulse
from rlt_service.engine.scoring_variants import ScoringVariant
from rlt_service.engine.vllm_adapters import VllmAdapters

_SCORES = "scores"  # what scores share of the prefix cache is under this salt


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningVllm:
    """What exists between start and stop."""

    llm: AsyncLLM
    processes: tuple[psutil.Process, ...]
    codec: SequenceCodec
    info: EngineInfo
    banned_ids: tuple[int, ...]
    pulse: Pulse
    adapters: VllmAdapters
    scoring: ScoringVariant
    cache: CacheWatch | None = None
    """None where vLLM counts nothing."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """Of requests: vLLM wants a name of its own for each."""

    async def outputs(
        self,
        token_ids: Sequence[int],
        params: SamplingParams,
        *,
        lora: LoRARequest | None,
        cache_salt: str | None = None,
    ) -> AsyncGenerator[RequestOutput]:
        """Send one sequence through vLLM and yield what it says; its errors become ours. Closing it aborts.

        It shares cached prefixes with what has the same `cache_salt`.
        """
        prompt = tokens_input(list(token_ids), cache_salt=cache_salt)
        stream = self.llm.generate(prompt, params, f"rlt-{next(self.numbers)}", lora_request=lora)
        try:
            async with aclosing(stream):  # an abort is under way before the adapter is let go
                async for output in stream:
                    yield output
        except VLLMClientError as error:
            raise InvalidRequestError(f"vLLM refused the request: {error}") from error
        except VLLMError as error:
            raise EngineUnavailableError(
                f"The engine failed ({error}); restart the service if it stays so.", retry_after_s=10.0
            ) from error

    async def scored_output(
        self,
        token_ids: Sequence[int],
        params: SamplingParams,
        *,
        lora: LoRARequest | None,
        cache_salt: str | None = None,
    ) -> RequestOutput:
        """Send a sequence to be scored through vLLM; it reads of the cache what other scores computed, nothing else.

        Of those, what has the same `cache_salt`.

        Generation computes by faster kernels that round more (`exact_math.py`), and its batches are of any shape.
        """
        salt = _SCORES if cache_salt is None else f"{_SCORES} {cache_salt}"
        outputs = self.outputs(token_ids, params, lora=lora, cache_salt=salt)
        return [output async for output in outputs][-1]
