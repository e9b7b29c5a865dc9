"""The real engine against plain transformers in float32 on the same ids."""

import copy
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlt_service.engine.models import resolve_model
from rlt_service.engine.protocol import AdapterRef, Engine, GenerateRequest, SequenceScoreRequest
from tests.engine.adapter_files import write_adapter

if TYPE_CHECKING:  # vLLM takes seconds to import
    from rlt_service.engine.vllm_engine import VllmEngine

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]

TOLERANCE = 1e-4
BATCHES = (1, 3, 5, 6, 7, 8, 10, 12, 15, 20)
"""Each is a call of its own: ten small batches would take most of the time."""
NO_LESS_EXACT = 1.1
"""How much further from float64 than transformers scores may be, in the root of the mean square."""
IM_START, IM_END = 1, 2


@pytest.fixture(scope="module")
def reference(rlt_home_models: Path) -> Any:
    folder = resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


@pytest.fixture
def peft_reference(reference: Any) -> Iterator[Any]:
    """Give a function that puts adapters on the reference; they are taken off again at the end."""
    from peft import PeftModel

    wrapped: list[Any] = []

    def with_adapter(adapter: AdapterRef) -> Any:
        name = f"adapter{len(wrapped)}"
        if wrapped:
            wrapped[0].load_adapter(str(adapter.path), adapter_name=name)
        else:
            wrapped.append(PeftModel.from_pretrained(reference, str(adapter.path), adapter_name=name))
        wrapped[0].set_adapter(name)
        return wrapped[0]

    yield with_adapter
    for model in wrapped:
        model.unload()


def logits_of(model: Any, request: SequenceScoreRequest) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([list(request.token_ids)])).logits[0, request.start - 1 : -1]


def logprobs_of(logits_TV: torch.Tensor, request: SequenceScoreRequest) -> list[float]:
    targets_T = torch.tensor(request.token_ids[request.start :])
    logprobs_TV = torch.log_softmax(logits_TV.double() / request.temperature, dim=-1)
    return logprobs_TV.gather(1, targets_T[:, None])[:, 0].tolist()


def expected(model: Any, request: SequenceScoreRequest) -> list[float]:
    return logprobs_of(logits_of(model, request), request)


def expected_of_sampled(model: Any, request: SequenceScoreRequest, *, engine: Engine) -> list[float]:
    """As `expected`, over what may be sampled: a control token that ends nothing may not."""
    logits_TV = logits_of(model, request).clone()
    logits_TV[:, sorted(engine.codec.control_token_ids - engine.codec.end_token_ids)] = -torch.inf
    return logprobs_of(logits_TV, request)


def scored(ids: Sequence[int], *, start: int, temperature: float, adapter: AdapterRef | None = None) -> Any:
    return SequenceScoreRequest(token_ids=tuple(ids), start=start, temperature=temperature, adapter=adapter)


def largest_difference(left: Sequence[float], right: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


def ids_of_story(engine: Engine, dice: random.Random, *, length: int) -> list[int]:
    """Take the first `length` tokens of sums told in words, made by `dice`."""
    names, things = ("Carla", "Ahmed", "Ngozi", "Pavel"), ("coins", "apples", "books", "pens")
    text = ""
    while len(text) < 8 * length:
        have, more, thing = dice.randrange(2, 99), dice.randrange(2, 99), dice.choice(things)
        text += f"{dice.choice(names)} has {have} {thing} and gets {more} more. {have} + {more} = {have + more}.\n"
    return engine.codec.encode_text(text)[:length]


def twenty_items(engine: Engine, temperature: float) -> list[SequenceScoreRequest]:
    """Five questions of different length, four explanations each: the batch shares prefixes and mixes lengths.

    No longer than they need be, since they are scored hundreds of times. Read from the cache (blocks of 32) are none,
    1, 1, 2 and 3 blocks of a question: it ends within its first block, one token behind a block, with a block, one
    behind two and one behind three. An explanation is one token, a part of a block, or longer than a block.
    """
    dice = random.Random(17)
    items: list[SequenceScoreRequest] = []
    for length in (9, 33, 64, 65, 97):
        question = ids_of_story(engine, dice, length=length)
        for own in (1, 5, 17, 34):
            ids = question + ids_of_story(engine, dice, length=own)
            items.append(scored(ids, start=length, temperature=temperature))
    return items


async def test_scores_equal_a_transformers_forward_cold_and_warm(real_engine: Engine, reference: Any) -> None:
    """At 1; the ten orders below are at 0.7."""
    items = twenty_items(real_engine, 1.0)
    wanted = [expected(reference, item) for item in items]
    for _ in ("cold", "warm"):
        for logprobs, result in zip(wanted, await real_engine.score(items), strict=True):
            assert largest_difference(logprobs, result.logprobs) < TOLERANCE


async def test_scores_round_as_little_as_transformers_does(real_engine: Engine, reference: Any) -> None:
    dice = random.Random(18)
    items = [scored(ids_of_story(real_engine, dice, length=250), start=150, temperature=0.7) for _ in range(3)]
    wide = copy.deepcopy(reference).double()
    truth = [logprob for item in items for logprob in expected(wide, item)]
    theirs = math.dist(truth, [logprob for item in items for logprob in expected(reference, item)])
    for cached in (0, 128):  # whole, and with the beginning read from the cache
        results = await real_engine.score(items)
        assert {result.cached_tokens for result in results} == {cached}
        got = [logprob for result in results for logprob in result.logprobs]
        assert math.dist(truth, got) < NO_LESS_EXACT * theirs


async def test_scoring_reads_the_cached_question_and_stays_exact(real_engine: Engine, reference: Any) -> None:
    dice = random.Random(23)
    question = ids_of_story(real_engine, dice, length=100)
    first, second = (
        scored([*question, *ids_of_story(real_engine, dice, length=50)], start=100, temperature=0.7) for _ in range(2)
    )
    await real_engine.score([first])
    (result,) = await real_engine.score([second])
    assert result.cached_tokens == 96  # three whole blocks of 32
    assert largest_difference(expected(reference, second), result.logprobs) < TOLERANCE


async def test_a_group_in_one_request_reads_the_question_that_its_first_sequence_computed(
    real_engine: Engine, reference: Any
) -> None:
    dice = random.Random(24)
    question = ids_of_story(real_engine, dice, length=100)
    items = [
        scored([*question, *ids_of_story(real_engine, dice, length=40)], start=100, temperature=0.7) for _ in range(3)
    ]
    results = await real_engine.score(items)
    assert sorted(result.cached_tokens for result in results)[1:] == [96, 96]
    for item, result in zip(items, results, strict=True):
        assert largest_difference(expected(reference, item), result.logprobs) < TOLERANCE


async def test_scores_of_twenty_items_are_the_same_in_ten_orders_and_batches_cold_and_warm(
    real_engine: Engine, reference: Any, peft_reference: Any, tmp_path: Path
) -> None:
    adapters = [write_adapter(tmp_path / str(seed), version=f"order@{seed}", seed=seed) for seed in (51, 52)]
    of_whom = (None, *adapters)
    items = [replace(item, adapter=of_whom[place % 3]) for place, item in enumerate(twenty_items(real_engine, 0.7))]
    wanted: dict[SequenceScoreRequest, list[float]] = {}
    for adapter in of_whom:  # the base first: PEFT changes the model that it is given
        model = reference if adapter is None else peft_reference(adapter)
        wanted |= {item: expected(model, item) for item in items if item.adapter == adapter}
    dice = random.Random(19)
    for number, batch in enumerate(BATCHES):
        order = dice.sample(items, k=len(items))
        assert await cast("VllmEngine", real_engine)._state.llm.reset_prefix_cache()
        for state in ("cold", "warm"):
            for first in range(0, len(order), batch):
                some = order[first : first + batch]
                for item, result in zip(some, await real_engine.score(some), strict=True):
                    apart = largest_difference(wanted[item], result.logprobs)
                    assert apart < TOLERANCE, f"order {number}, batches of {batch}, {state}, item {items.index(item)}"


async def test_cached_prefix_that_reaches_into_the_wanted_span_is_read_up_to_that_span(
    real_engine: Engine, reference: Any
) -> None:
    dice = random.Random(29)
    item = scored(ids_of_story(real_engine, dice, length=120), start=40, temperature=0.7)
    for cached in (0, 32):  # the second time all whole blocks are there: read is the one before position 39
        (result,) = await real_engine.score([item])
        assert result.cached_tokens == cached
        assert largest_difference(expected(reference, item), result.logprobs) < TOLERANCE


async def test_scores_read_nothing_of_what_generation_left_in_the_cache(real_engine: Engine) -> None:
    ids = ids_of_story(real_engine, random.Random(30), length=120)
    asked = _request(ids, n=1, temperature=1.0, max_tokens=2)
    assert [(await real_engine.generate(asked)).cached_tokens for _ in range(2)] == [0, 96]  # it reads its own
    item = scored(ids, start=110, temperature=1.0)
    assert [(await real_engine.score([item]))[0].cached_tokens for _ in range(2)] == [0, 96]


async def test_cached_prefix_that_ends_right_before_the_needed_state_is_used(
    real_engine: Engine, reference: Any
) -> None:
    dice = random.Random(31)
    ids = ids_of_story(real_engine, dice, length=130)
    await real_engine.score([scored(ids, start=1, temperature=1.0)])
    (exact,) = await real_engine.score([scored(ids, start=129, temperature=1.0)])
    (reaching,) = await real_engine.score([scored(ids, start=128, temperature=1.0)])
    assert (exact.cached_tokens, reaching.cached_tokens) == (128, 96)
    for start, result in ((129, exact), (128, reaching)):
        wanted = expected(reference, scored(ids, start=start, temperature=1.0))
        assert largest_difference(wanted, result.logprobs) < TOLERANCE


async def test_scores_do_not_depend_on_where_a_long_batch_is_cut_into_steps(
    real_engine: Engine, reference: Any
) -> None:
    dice = random.Random(37)  # a step holds 2,048 tokens: the last sequence is cut somewhere
    items = [scored(ids_of_story(real_engine, dice, length=700), start=600, temperature=0.7) for _ in range(3)]
    got = await real_engine.score(items)
    for item, result in zip(items, got, strict=True):
        assert largest_difference(expected(reference, item), result.logprobs) < TOLERANCE


@pytest.mark.parametrize(("temperature", "logprobs_at"), [(0.7, 0.7), (1.0, 1.0), (0.0, 1.0)])
async def test_sampled_logprobs_are_those_of_the_sampling_temperature(
    real_engine: Engine, reference: Any, temperature: float, logprobs_at: float
) -> None:
    prompt = real_engine.codec.teacher_sequence(question="What is 3 + 4?", solution="The answer is 7.").token_ids
    result = await real_engine.generate(_request(prompt, n=4, temperature=temperature, max_tokens=48))
    for completion in result.completions:
        item = scored([*prompt, *completion.token_ids], start=len(prompt), temperature=logprobs_at)
        wanted = expected_of_sampled(reference, item, engine=real_engine)
        assert largest_difference(wanted, completion.logprobs) < TOLERANCE


async def test_control_ids_are_never_generated_where_the_model_wants_nothing_else(
    real_engine: Engine, reference: Any
) -> None:
    prompt = [IM_START, *real_engine.codec.encode_text("user\nHello, how are you?"), IM_END, 198]
    with torch.no_grad():
        assert reference(torch.tensor([prompt])).logits[0, -1].argmax().item() == IM_START
    for temperature in (0.0, 0.7):
        result = await real_engine.generate(_request(prompt, n=2, temperature=temperature, max_tokens=8))
        banned = real_engine.codec.control_token_ids - real_engine.codec.end_token_ids
        assert not banned & {token for completion in result.completions for token in completion.token_ids}


async def test_end_token_ends_a_completion_and_is_kept(real_engine: Engine) -> None:
    question = [IM_START, *real_engine.codec.encode_text("user\nSay hi."), IM_END, 198]
    prompt = [*question, IM_START, *real_engine.codec.encode_text("assistant\nHi!")]
    result = await real_engine.generate(_request(prompt, n=4, temperature=0.7, max_tokens=40))
    ended = [c for c in result.completions if c.token_ids[-1] in real_engine.codec.end_token_ids]
    assert ended
    assert {c.finish_reason for c in ended} == {"stop"}


async def test_adapter_scores_equal_peft_also_in_a_batch_with_the_base_and_another(
    real_engine: Engine, reference: Any, peft_reference: Any, tmp_path: Path
) -> None:
    adapters = [
        write_adapter(tmp_path / str(n), version=f"peft@{n}", rank=rank, seed=n) for n, rank in ((1, 4), (2, 16))
    ]
    for adapter in adapters:
        await real_engine.load(adapter)
    ids = ids_of_story(real_engine, random.Random(41), length=120)
    items = [scored(ids, start=80, temperature=0.7, adapter=adapter) for adapter in (None, *adapters)]
    # The second time each reads 64 cached tokens: its own, or it would be off by more than rounding (vLLM #42125).
    for cached in (0, 64):
        results = await real_engine.score(items)
        assert [result.cached_tokens for result in results] == [cached] * 3
    got = [result.logprobs for result in results]
    assert largest_difference(expected(reference, items[0]), got[0]) < TOLERANCE
    for adapter, item, logprobs in zip(adapters, items[1:], got[1:], strict=True):
        assert largest_difference(expected(peft_reference(adapter), item), logprobs) < TOLERANCE
        assert largest_difference(got[0], logprobs) > 0.1


async def test_adapter_generates_with_its_own_logprobs(
    real_engine: Engine, peft_reference: Any, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path, version="generating@1", seed=3)
    prompt = real_engine.codec.teacher_sequence(question="What is 3 + 4?", solution="7").token_ids
    result = await real_engine.generate(_request(prompt, n=2, temperature=0.7, max_tokens=12, adapter=adapter))
    for completion in result.completions:
        item = scored([*prompt, *completion.token_ids], start=len(prompt), temperature=0.7)
        wanted = expected_of_sampled(peft_reference(adapter), item, engine=real_engine)
        assert largest_difference(wanted, completion.logprobs) < TOLERANCE


async def test_more_versions_than_slots_still_answer_as_themselves(real_engine: Engine, tmp_path: Path) -> None:
    adapters = [write_adapter(tmp_path / str(n), version=f"many@{n}", seed=100 + n) for n in range(1, 5)]
    ids = ids_of_story(real_engine, random.Random(43), length=70)
    items = [scored(ids, start=10, temperature=1.0, adapter=adapter) for adapter in adapters]
    async with real_engine.holding(adapters[0]):
        assert "many@1" in (await real_engine.health()).loaded_versions
    together = [result.logprobs for result in await real_engine.score(items)]
    for item, logprobs in zip(items, together, strict=True):
        (alone,) = await real_engine.score([item])
        assert largest_difference(alone.logprobs, logprobs) < TOLERANCE
    assert len({tuple(round(value, 2) for value in logprobs) for logprobs in together}) == 4


def _request(
    prompt: Sequence[int], *, n: int, temperature: float, max_tokens: int, adapter: AdapterRef | None = None
) -> GenerateRequest:
    return GenerateRequest(
        prompt_token_ids=prompt,
        adapter=adapter,
        n=n,
        temperature=temperature,
        top_p=1.0,
        max_tokens=max_tokens,
        seed=7,
        stop_text="<|end_of_explanation|>",
    )
