"""How a page finds its place in a job's history, and follows it by deltas."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.schemas.base import now_utc
from rlt_core.schemas.jobs import JOB_SPEC, JobEvent
from rlt_service.dashboard.cursors import NEAR, Peek, before_step, last_seq
from rlt_service.dashboard.following import Following
from rlt_service.dashboard.gateway import Gateway, RefusedError
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from tests.support.service import make_app, serving


def history(length: int, *, step_of: dict[int, int] | None = None) -> tuple[Peek, list[int]]:
    looks: list[int] = []

    async def peek(after: int) -> JobEvent | None:
        looks.append(after)
        if after >= length:
            return None
        seq = after + 1
        step = (step_of or {}).get(seq)
        data = {} if step is None else {"step": step}
        return JobEvent(seq=seq, job_id="j", attempt=1, created_at=now_utc(), type="progress", data=data)

    return peek, looks


@given(st.integers(min_value=0, max_value=100_000))
def test_the_end_of_a_history_is_found_by_few_looks(length: int) -> None:
    peek, looks = history(length)
    assert asyncio.run(last_seq(peek)) == length
    assert len(looks) <= 40


@given(st.integers(min_value=1, max_value=20_000), st.data())
def test_a_step_is_found_close_by_in_a_long_history(length: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(min_value=1, max_value=length))
    peek, looks = history(length, step_of={seq: seq for seq in range(1, length + 1)})
    place = asyncio.run(before_step(peek, step=step, last=length))
    assert step - 1 - NEAR <= place < step
    assert len(looks) <= 2 * 15


async def test_a_page_follows_a_job_by_what_is_new(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    async with serving(app):
        jobs = app.state.services.jobs
        spec = {"kind": "rl", "dataset": "ds_" + "0" * 20, "target_name": "made"}
        made = jobs.submit(JOB_SPEC.validate_python(spec))
        attempt = jobs.claim(queue="train", worker="test").job.attempt
        following = await Following.begin(Gateway(app, key=None), made.id)
        assert await following.poll() == []
        for step in range(1, 4):
            metrics = {"reward": step / 10}
            jobs.append_event(made.id, attempt, "progress", {"step": step, "total": 9, "metrics": metrics})
            sample = {"step": step, "question_id": str(step), "text": f"at {step}", "reward": 0.1}
            jobs.append_event(made.id, attempt, "sample", sample)
        assert [event.type for event in await following.poll()] == ["progress", "sample"] * 3
        assert following.curves.points("reward") == [(1, 0.1), (2, 0.2), (3, 0.3)]
        assert [event.data["text"] for event in await following.samples(2)] == ["at 2"]
        assert [event.seq for event in await following.newest()] == list(range(following.seq, 0, -1))
        later = await Following.begin(Gateway(app, key=None), made.id)
        assert later.curves.points("reward") == following.curves.points("reward")
        assert (later.seq, later.over) == (following.seq, False)
        jobs.cancel(made.id)
        assert jobs.finish(made.id, attempt, "cancelled").status == "cancelled"
        await later.poll()
        assert later.over


async def test_an_explanation_comes_while_it_is_written_and_ends_with_its_reader(tmp_path: Path) -> None:
    engine = FakeEngine(FakeOptions(delay_s=1.0))
    app = make_app(tmp_path, engine=engine)
    async with serving(app):
        stream = Gateway(app, key=None).explain({"question": "2 + 3?", "solution": "5", "max_tokens": 64})
        begun = asyncio.get_running_loop().time()
        first = await anext(stream)
        assert asyncio.get_running_loop().time() - begun < 0.9  # a whole one takes a second
        assert type(first).__name__ == "ExplanationDelta"
        await stream.aclose()
        for _ in range(100):
            if app.state.services.in_hand.requests == 0:
                break
            await asyncio.sleep(0.02)
        assert app.state.services.in_hand.requests == 0  # nobody reads, so nobody writes


async def test_a_refusal_says_what_the_api_says(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    async with serving(app):
        gateway = Gateway(app, key=None)
        with pytest.raises(RefusedError) as caught:
            await gateway.job("job_" + "0" * 20)
        assert (caught.value.status, caught.value.code) == (404, "not_found")
        with pytest.raises(RefusedError) as caught:
            await anext(gateway.explain({"question": "", "solution": "5"}))
        assert (caught.value.status, caught.value.param) == (422, "/question")

        async def lines() -> AsyncIterator[bytes]:
            yield b'{"question": "q"}\n'

        with pytest.raises(RefusedError) as caught:
            await gateway.upload(lines(), name="bad")
        assert caught.value.extra["lines"][0]["line"] == 1
