"""Both databases refuse the same values, with the same words."""

import pytest

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.jobs import QUEUE, WarmupSpec
from rlt_service.store.jobs import JobStore
from rlt_service.store.registry import Registry


def test_a_text_with_nul_is_refused_wherever_it_would_be_stored_or_looked_up(
    jobs: JobStore, registry: Registry, warmup: WarmupSpec
) -> None:
    with pytest.raises(InvalidRequestError, match=r"U\+0000"):
        jobs.submit(warmup.model_copy(update={"name": "a\x00b"}))
    with pytest.raises(InvalidRequestError, match=r"U\+0000"):
        jobs.get("job_\x00")
    with pytest.raises(InvalidRequestError, match=r"U\+0000"):
        registry.move_alias("teacher", "default", "tiny@0", expected="tiny@0", reason="a\x00b")
    with pytest.raises(InvalidRequestError, match=r"U\+D83D"):
        jobs.get("job_\ud83d")
    assert jobs.counts() == {}


def test_what_a_trainer_says_may_hold_anything(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    jobs.claim(queue=QUEUE, worker="w1")
    jobs.append_event(job.id, 1, "log", {"message": "a\x00b\ud83dé"})
    assert jobs.events(job.id)[-1].data == {"message": "a\x00b\ud83dé"}


def test_a_number_that_no_column_holds_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidRequestError, match="64 bits"):
        registry.alias_history("teacher", "default", after="9" * 30)
