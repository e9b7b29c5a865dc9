"""Steps that hold generation and scores, on a scheduler as small as what is leant on; vLLM itself must be installed."""

from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from rlt_service.engine.prompt_rows import ScoringParameters

pytestmark = pytest.mark.real

MOST, ROOM = 2048, 6
"""Tokens of a step, and requests at once."""


class Line(deque[Any]):
    """vLLM's line of waiting requests, as far as it is used."""

    add_request = deque.append
    prepend_request = deque.appendleft

    def remove_requests(self, requests: Sequence[Any]) -> None:
        left = [request for request in self if request not in requests]
        self.clear()
        self.extend(left)


def scheduler(
    running: Sequence[Any], waiting: Sequence[Any], *, free_blocks: int = 1000, max_loras: int | None = None
) -> Any:
    """Build the mixin over a scheduler that gives tokens to requests in their order, as vLLM's does."""
    from rlt_service.engine.generation_first import GenerationFirst

    class Little(GenerationFirst):
        def __init__(self) -> None:
            self.running, self.waiting = list(running), Line(waiting)
            self.max_num_scheduled_tokens, self.max_num_active_reqs = MOST, ROOM
            pool = SimpleNamespace(get_num_free_blocks=lambda: free_blocks)
            self.kv_cache_manager: Any = SimpleNamespace(block_pool=pool)
            self.cache_config: Any = SimpleNamespace(block_size=32)
            self.lora_config: Any = None if max_loras is None else SimpleNamespace(max_loras=max_loras)

    return Little()


@pytest.fixture(autouse=True)
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let vLLM's scheduler give tokens to running, then to waiting requests, and nothing more."""
    from vllm.v1.core.sched.scheduler import Scheduler

    monkeypatch.setattr(Scheduler, "schedule", schedule_in_order)


def schedule_in_order(self: Any, throttle_prefills: bool = False) -> Any:
    left, given = self.max_num_scheduled_tokens, dict[str, int]()
    free = self.kv_cache_manager.block_pool.get_num_free_blocks() * self.cache_config.block_size
    most = None if self.lora_config is None else self.lora_config.max_loras
    adapters = {request.lora_request.lora_int_id for request in self.running if request.lora_request}
    assert most is None or len(adapters) <= most  # so says vLLM, and then its core ends
    for request in self.running:
        given[request.name] = min(left, request.num_tokens_with_spec - request.num_computed_tokens)
        left -= given[request.name]
    skipped: list[Any] = []
    while self.waiting and left > 0 and len(self.running) < self.max_num_active_reqs:
        request = self.waiting.popleft()
        adapter = request.lora_request.lora_int_id if request.lora_request else None
        if most is not None and adapter and adapter not in adapters and len(adapters) == most:
            skipped.append(request)
            continue
        adapters |= {adapter} - {None}
        if request.num_tokens > free:
            self.waiting.prepend_request(request)
            break
        self.running.append(request)
        given[request.name] = min(left, request.num_tokens_with_spec)
        left -= given[request.name]
    self.waiting.extendleft(reversed(skipped))
    given = {name: count for name, count in given.items() if count}
    return SimpleNamespace(given=given, total_num_scheduled_tokens=sum(given.values()))


def request(name: str, *, tokens: int, computed: int = 0, score: bool, adapter: int | None = None) -> Any:
    extra = ScoringParameters(start=1, temperature=1.0).as_extra_args() if score else None
    return SimpleNamespace(
        name=name,
        lora_request=None if adapter is None else SimpleNamespace(lora_int_id=adapter),
        sampling_params=SimpleNamespace(extra_args=extra),
        num_tokens=tokens,
        num_tokens_with_spec=tokens,
        num_output_placeholders=0,
        num_computed_tokens=computed,
    )


def score(name: str, tokens: int = 600) -> Any:
    return request(name, tokens=tokens, score=True)


def written(name: str) -> Any:
    """Make a request that has its prompt behind it and generates one token a step."""
    return request(name, tokens=101, computed=100, score=False)


def asked(name: str, tokens: int = 100) -> Any:
    """Make a request to generate whose prompt is to be computed."""
    return request(name, tokens=tokens, score=False)


def test_scores_alone_fill_the_step() -> None:
    step = scheduler([score("a")], [score("b"), score("c"), score("d")]).schedule()
    assert step.given == {"a": 600, "b": 600, "c": 600, "d": 248}


def test_generation_alone_is_left_to_vllm() -> None:
    assert scheduler([written("a")], [asked("b", 3000)]).schedule().given == {"a": 1, "b": 2047}


def test_a_token_is_generated_beside_few_that_are_scored() -> None:
    made = scheduler([score("a"), written("w"), score("b")], [score("c")])
    assert made.schedule().given == {"w": 1, "a": 32}
    assert made.max_num_scheduled_tokens == MOST


def test_of_the_steps_that_generate_every_sixth_scores() -> None:
    made = scheduler([score("a"), written("w")], [score("c")])
    given = [made.schedule().given for _ in range(13)]
    assert [step.get("a", 0) for step in given] == [32, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 32]
    assert [step["w"] for step in given] == [1] * 13
    assert [each.name for each in made.running] == ["w", "a"]
    assert (made.max_num_scheduled_tokens, made.max_num_active_reqs) == (MOST, ROOM)


def test_scores_do_not_rest_where_generation_may_need_their_blocks() -> None:
    made = scheduler([score("a"), written("w")], [], free_blocks=0)
    assert [made.schedule().given.get("a", 0) for _ in range(3)] == [32, 32, 32]


def test_beside_many_as_many_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlt_service.engine.generation_first.SCORED_BESIDE", 2)
    made = scheduler([score("a"), *(written(f"w{number}") for number in range(4))], [])
    assert made.schedule().given["a"] == 4


def test_who_asks_for_an_explanation_does_not_wait_for_scores_that_run_or_came_before() -> None:
    made = scheduler([score("a"), score("b")], [score("c"), asked("new"), asked("newer")])
    # Nothing is scored: of a prompt that is in the cache, tokens are left over that scores would take.
    assert made.schedule().given == {"new": 100, "newer": 100}
    assert [each.name for each in made.running] == ["new", "newer", "a", "b"]
    assert [each.name for each in made.waiting] == ["c"]
    assert made.max_num_active_reqs == ROOM


def test_scores_go_on_however_many_ask_for_explanations() -> None:
    made = scheduler([score("a"), score("b")], [asked("0")])
    scored = []
    for number in range(1, 7):
        scored.append(made.schedule().given.get("a", 0))
        made.running = [each for each in made.running if each.name in "ab"]  # who asked has got its one token
        made.waiting.append(asked(str(number)))
    assert scored == [0, 32, 0, 32, 0, 32]


def test_scores_that_have_begun_are_finished_before_others_begin() -> None:
    made = scheduler([score("a", tokens=10), written("w"), score("b")], [score("c")])
    assert made.schedule().given == {"w": 1, "a": 10, "b": 22}
    last = scheduler([score("a", tokens=10), written("w")], [score("c")])
    assert last.schedule().given == {"w": 1, "a": 10}
    assert scheduler([written("w")], [score("c"), score("d")]).schedule().given == {"w": 1, "c": 32}


def test_who_asks_starts_only_with_adapters_that_fit_beside_those_of_the_scores_held() -> None:
    running = [request("a", tokens=600, score=True, adapter=1)]
    names = [("fourth", 4), ("first", 1), ("second", 2), ("base", None)]
    waiting = [request(name, tokens=10, score=False, adapter=adapter) for name, adapter in names]
    made = scheduler(running, waiting, max_loras=2)
    assert made.schedule().given == {"fourth": 10, "first": 10, "base": 10}
    assert [each.name for each in made.waiting] == ["second"]
    made.running = [each for each in made.running if each.name != "fourth"]
    assert "a" in made.schedule().given  # and the core lives


def test_scores_that_were_held_count_among_what_runs_at_once() -> None:
    made = scheduler([score(name) for name in "abcd"], [asked(f"new{number}") for number in range(5)])
    assert made.schedule().given == {"new0": 100, "new1": 100}
    assert len(made.running) == ROOM


def test_scores_go_on_where_there_is_no_room_to_start_beside_them() -> None:
    full = scheduler([score("a")], [asked("new", tokens=100)], free_blocks=3)
    assert full.schedule().given == {"a": 600}
    beside = scheduler([written("w"), score("a")], [asked("new", tokens=100)], free_blocks=3)
    assert beside.schedule().given == {"w": 1, "a": 32}
    crowded = scheduler([score(name, tokens=20) for name in "abcdef"], [asked("new")])
    assert set(crowded.schedule().given) == set("abcdef")


def test_a_step_in_which_nothing_could_run_is_not_followed_by_another() -> None:
    made = scheduler([score("a")], [asked("new", tokens=100)])
    made.kv_cache_manager.block_pool.get_num_free_blocks = iter([1000, 1, 1, 1]).__next__  # too few, seen too late
    assert made.schedule().total_num_scheduled_tokens == 0
    assert made.schedule().given == {"a": 600}
