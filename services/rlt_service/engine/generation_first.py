"""Let scores wait for generation within an engine: a step with both holds few scored tokens.

A step is as long as all that it holds, and a sequence that is generated gets one token a step. On a CPU 2,048 scored
tokens take seconds, so a bulk of scores would make every caller of /explain wait seconds for each token. Here a step
that generates scores about as many tokens as take as long again; a step that generates nothing is full of scores.

Leans on the inside of vLLM 0.32: `Scheduler.schedule` takes running requests in the order of `running`, then waiting
ones in the order of `waiting`, up to `max_num_scheduled_tokens`, and no more than `max_num_active_reqs` at once; a
running request that got no tokens is none the worse.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from collections.abc import Sequence
from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request

from rlt_service.engine.prompt_rows import scoring_parameters

SCORED_BESIDE = 32
"""Tokens that are scored in a step beside up to as many generated ones; beside more, as many as those."""


class GenerationFirst(Scheduler):
    """Mixin over a scheduler: generation goes first, and scores fill up what it leaves of a shorter step."""

    may_hold: bool = True
    """Whether running scores may be left out of the next step; not twice in a row where the first held nothing."""

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        """Schedule a step."""
        arrived = [request for request in self.waiting if not is_score(request)]
        running = [request for request in self.running if not is_score(request)]
        scores = [request for request in self.running if is_score(request)]
        self._put_first(arrived)
        starting = arrived if arrived and self._finds_room(arrived[0]) else []
        generated = len(running) + len(starting)
        if not generated or not (scores or len(self.waiting) > len(arrived)):
            self.may_hold = True
            return super().schedule(throttle_prefills)
        held = scores if starting else []
        self.running = running if held else running + scores
        limits = self.max_num_scheduled_tokens, self.max_num_active_reqs
        wanted = sum(_remaining(request) for request in (*running, *starting))
        self.max_num_scheduled_tokens = min(limits[0], wanted + max(SCORED_BESIDE, generated))
        self.max_num_active_reqs -= len(held)
        try:
            step = super().schedule(throttle_prefills)
        finally:
            self.max_num_scheduled_tokens, self.max_num_active_reqs = limits
            self.running += held
        self.may_hold = not held or step.total_num_scheduled_tokens > 0
        return step

    def _put_first(self, arrived: Sequence[Request]) -> None:
        """Put these at the head of the line, in their order."""
        for request in arrived:
            self.waiting.remove_request(request)
        for request in reversed(arrived):
            self.waiting.prepend_request(request)

    def _finds_room(self, request: Request) -> bool:
        """Tell whether a request can start beside what runs; if not, scores must end to make room."""
        free: int = self.kv_cache_manager.block_pool.get_num_free_blocks()
        return (
            self.may_hold
            and len(self.running) < self.max_num_active_reqs
            and free * self.cache_config.block_size > request.num_tokens
        )


def is_score(request: Any) -> bool:
    """Tell whether a request is one of ours to score."""
    sampling = request.sampling_params
    return sampling is not None and scoring_parameters(sampling.extra_args) is not None


def _remaining(request: Request) -> int:
    """Count the tokens that a request would compute in a step of any length."""
    return max(1, request.num_tokens_with_spec + request.num_output_placeholders - request.num_computed_tokens)
