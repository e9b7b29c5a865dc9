"""Let scores wait for generation within an engine: a step with both holds few scored tokens.

A step is as long as all that it holds, and a sequence that is generated gets one token a step. On a CPU 2,048 scored
tokens take seconds, so a bulk of scores would make every caller of /explain wait seconds for each token. Here a step
that generates scores about as many tokens as take as long again; a step that generates nothing is full of scores.

Leans on the inside of vLLM 0.32: `Scheduler.schedule` takes running requests in the order of `running`, then waiting
ones in the order of `waiting`, up to `max_num_scheduled_tokens`, and no more than `max_num_active_reqs` at once; a
running request that got no tokens is none the worse. What runs may need `max_loras` adapters at most, which it asserts:
a request is admitted by the adapters of `running` alone.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from collections.abc import Iterable
from typing import Any, Literal

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request

from rlt_service.engine.prompt_rows import scoring_parameters

SCORED_BESIDE = 32
"""Tokens that are scored in a step beside up to as many generated ones; beside more, as many as those."""
SCORED_EVERY = 6
"""Of the steps that generate, every sixth scores: a few rows by torch take several times as long as a token."""


class GenerationFirst(Scheduler):
    """Mixin over a scheduler: generation goes first, and scores fill up what it leaves of a shorter step."""

    last_start: Literal["none", "done", "vain"] = "none"
    """Whether the last step left scores out for generation to start, and whether anything then ran."""
    rested: int = SCORED_EVERY - 1
    """Steps since scores were last computed beside generation."""

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        """Schedule a step: one of generation that starts or goes on, one of generation and few scores, or a full one.

        No two steps in a row leave scores out for others to start, and no more than five for those that run: however
        many ask for explanations, scores go on.
        """
        generating, scores = _parted(self.running)
        arrived, later = _parted(self.waiting)
        if not (generating or arrived) or not (scores or later):
            self.last_start = "none"
            return super().schedule(throttle_prefills)
        self.waiting.remove_requests(later)  # and back at the end of the line
        before, limits = self.last_start, (self.max_num_scheduled_tokens, self.max_num_active_reqs)
        starts = bool(arrived) and before == "none" and self._finds_room(arrived[0], beside=len(generating))
        rests = bool(generating) and not starts and self.rested < SCORED_EVERY - 1 and self._has_blocks(len(generating))
        self.rested = self.rested + 1 if starts or rests else 0
        self.running = generating if starts or rests else generating + scores
        held: list[Request] = []
        if starts or rests:
            self.max_num_active_reqs -= len(scores)
            held = _beyond_adapters(arrived, beside=generating + scores, most=self._most_adapters())
            self.waiting.remove_requests(held)
        elif generating or before == "done":
            scored = max(SCORED_BESIDE, len(generating))
            self.max_num_scheduled_tokens = min(limits[0], sum(map(_remaining, generating)) + scored)
        # The oldest scores go first: none begins where others that have begun could not all go on.
        if not (starts or rests) and (not scores or self.max_num_scheduled_tokens == limits[0]):
            self._line_up(later)
            later = []
        try:
            step = super().schedule(throttle_prefills)
        finally:
            self.max_num_scheduled_tokens, self.max_num_active_reqs = limits
            for request in reversed(held):
                self.waiting.prepend_request(request)
            self._line_up(later)
            if starts or rests:
                self.running += scores
        self.last_start = "none" if not starts else "done" if step.total_num_scheduled_tokens else "vain"
        return step

    def _most_adapters(self) -> int | None:
        return None if self.lora_config is None else self.lora_config.max_loras

    def _line_up(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self.waiting.add_request(request)

    def _has_blocks(self, wanted: int) -> bool:
        """Tell whether each that generates could have one more; if not, vLLM must see the scores to take theirs."""
        return self.kv_cache_manager.block_pool.get_num_free_blocks() >= wanted

    def _finds_room(self, request: Request, *, beside: int) -> bool:
        """Tell whether a request can start, with a block left for each that generates; if not, scores must end."""
        free: int = self.kv_cache_manager.block_pool.get_num_free_blocks() - beside
        return len(self.running) < self.max_num_active_reqs and free * self.cache_config.block_size > request.num_tokens


def _parted(requests: Iterable[Request]) -> tuple[list[Request], list[Request]]:
    """Part requests that generate from those that are scored, in their order."""
    every = list(requests)
    return [one for one in every if not is_score(one)], [one for one in every if is_score(one)]


def _beyond_adapters(arrived: Iterable[Request], *, beside: Iterable[Request], most: int | None) -> list[Request]:
    """Find who would bring an adapter too many, among those that arrived, beside what runs."""
    adapters = {_adapter(request) for request in beside} - {0}
    held: list[Request] = []
    for request in arrived:
        adapter = _adapter(request)
        if most is not None and adapter and adapter not in adapters and len(adapters) >= most:
            held.append(request)
        elif adapter:
            adapters.add(adapter)
    return held


def _adapter(request: Request) -> int:
    """Give the number of a request's adapter, 0 for the base."""
    return 0 if request.lora_request is None else request.lora_request.lora_int_id


def is_score(request: Any) -> bool:
    """Tell whether a request is one of ours to score."""
    sampling = request.sampling_params
    return sampling is not None and scoring_parameters(sampling.extra_args) is not None


def _remaining(request: Request) -> int:
    """Count the tokens that a request would compute in a step of any length."""
    return max(1, request.num_tokens_with_spec + request.num_output_placeholders - request.num_computed_tokens)
