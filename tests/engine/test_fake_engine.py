import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from rlt_core.errors import EngineUnavailableError, InvalidAdapterError
from rlt_service.engine.factory import create_engine
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions, rule_logprobs
from rlt_service.engine.protocol import AdapterRef, Completion, GenerateRequest, SequenceScoreRequest
from rlt_service.settings import Settings
from tests.engine.adapter_files import write_adapter

CLOSE = "<|end_of_explanation|>"


def version(name: str) -> AdapterRef:
    return AdapterRef(version=name, path=Path("nowhere"), sha256=hashlib.sha256(name.encode()).hexdigest())


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    fake = FakeEngine(FakeOptions(validate_adapters=False))
    await fake.start()
    yield fake
    await fake.stop()


def test_seen_tokens_are_likely_and_new_ones_are_not() -> None:
    assert rule_logprobs([5, 6, 5, 7, 7], start=1, temperature=1.0, adapter=None) == (-2.0, -0.1, -2.0, -0.1)


def test_rule_divides_by_the_temperature() -> None:
    assert rule_logprobs([5, 5], start=1, temperature=0.5, adapter=None) == (-0.2,)


def test_later_versions_find_everything_likelier_up_to_the_tenth() -> None:
    values = [
        rule_logprobs([5, 6], start=1, temperature=1.0, adapter=version(f"a@{number}"))[0]
        for number in (0, 1, 4, 10, 99)
    ]
    assert values == pytest.approx([-2.0, -1.9, -1.6, -1.0, -1.0])


async def test_other_weights_write_other_explanations(engine: FakeEngine) -> None:
    base, first, second = [
        (await engine.generate(_request(engine, adapter=adapter))).completions[0].token_ids
        for adapter in (None, version("a@1"), version("b@1"))
    ]
    assert len({base, first, second}) == 3


async def test_the_same_weights_under_another_name_write_the_same(engine: FakeEngine) -> None:
    here = version("a@1")
    there = replace(here, version="b@1")
    written = [await engine.generate(_request(engine, adapter=adapter)) for adapter in (here, there)]
    assert written[0].completions[0].token_ids == written[1].completions[0].token_ids


async def test_all_completions_close_unless_asked_otherwise(engine: FakeEngine) -> None:
    for completion in await _fifty(FakeOptions()):
        parsed = engine.codec.parse_completion(completion.token_ids)
        assert (parsed.well_formed, parsed.straddled, completion.finish_reason) == (True, False, "stop")


async def test_unclosed_share_leaves_that_many_open_and_fills_max_tokens(engine: FakeEngine) -> None:
    completions = await _fifty(FakeOptions(unclosed_share=0.5))
    unclosed = [c for c in completions if not engine.codec.parse_completion(c.token_ids).well_formed]
    assert 10 < len(unclosed) < 40
    assert {(c.finish_reason, len(c.token_ids)) for c in unclosed} == {("length", 200)}


async def test_straddled_share_puts_text_and_tag_into_one_token(engine: FakeEngine) -> None:
    parsed = [engine.codec.parse_completion(c.token_ids) for c in await _fifty(FakeOptions(straddled_share=0.5))]
    assert 10 < sum(p.straddled for p in parsed) < 40
    assert {p.rest for p in parsed if p.straddled} == {"."}


async def test_adapter_files_are_checked_unless_switched_off(tmp_path: Path) -> None:
    adapter = replace(write_adapter(tmp_path, layers=1), sha256="0" * 64)
    checking = FakeEngine()
    await checking.start()
    with pytest.raises(InvalidAdapterError, match="sha256"):
        await checking.load(adapter)
    trusting = FakeEngine(FakeOptions(validate_adapters=False))
    await trusting.start()
    await trusting.load(adapter)
    assert (await trusting.health()).loaded_versions == ("algebra@1",)


async def test_dead_engine_is_unavailable_and_says_so(engine: FakeEngine) -> None:
    await engine.die()
    assert not (await engine.health()).alive
    with pytest.raises(EngineUnavailableError, match="died"):
        await engine.score([SequenceScoreRequest(token_ids=(5, 6), start=1, temperature=1.0, adapter=None)])


async def test_stopped_engine_is_unavailable_and_can_start_again(engine: FakeEngine) -> None:
    await engine.stop()
    await engine.stop()
    with pytest.raises(EngineUnavailableError):
        await engine.load(version("a@1"))
    await engine.start()
    assert (await engine.health()).alive


async def test_settings_choose_the_double_and_its_sizes() -> None:
    engine = create_engine(Settings(engine="fake", max_model_len=512, max_lora_rank=8))
    assert (engine.info.name, engine.info.max_model_len, engine.info.max_lora_rank) == ("fake", 512, 8)


def _request(engine: FakeEngine, *, adapter: AdapterRef | None = None, n: int = 1) -> GenerateRequest:
    return GenerateRequest(
        prompt_token_ids=engine.codec.encode_text("How many?"),
        adapter=adapter,
        n=n,
        temperature=0.7,
        top_p=1.0,
        max_tokens=200,
        seed=1,
        stop_text=CLOSE,
    )


async def _fifty(options: FakeOptions) -> tuple[Completion, ...]:
    fake = FakeEngine(options)
    await fake.start()
    return (await fake.generate(_request(fake, n=50))).completions
