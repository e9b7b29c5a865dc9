"""Both databases refuse the same values, with the same words."""

import pytest

from rlt_core.errors import InvalidRequestError, ModelNotFoundError, NotFoundError
from rlt_core.schemas.jobs import QUEUE, WarmupSpec
from rlt_service.store.jobs import JobStore
from rlt_service.store.registry import Registry

ODD = ["a\x00b", "a\ud83db"]


@pytest.mark.parametrize("odd", ODD)
def test_a_text_that_cannot_be_stored_is_refused(
    jobs: JobStore, registry: Registry, warmup: WarmupSpec, odd: str
) -> None:
    character = rf"U\+{ord(odd[1]):04X}"
    with pytest.raises(InvalidRequestError, match=character):
        jobs.submit(warmup.model_copy(update={"name": odd}))
    with pytest.raises(InvalidRequestError, match=character):
        registry.move_alias("teacher", "default", "tiny@0", expected="tiny@0", reason=odd)
    assert jobs.counts() == {}


@pytest.mark.parametrize("odd", ODD)
def test_what_cannot_have_been_stored_is_not_there(jobs: JobStore, registry: Registry, odd: str) -> None:
    with pytest.raises(NotFoundError):
        jobs.get(odd)
    with pytest.raises(ModelNotFoundError):
        registry.resolve("teacher", odd)
    with pytest.raises(InvalidRequestError, match="names no job"):
        jobs.list(after=odd)


def test_what_a_trainer_says_may_hold_anything(jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)
    jobs.claim(queue=QUEUE, worker="w1")
    jobs.append_event(job.id, 1, "log", {"message": "a\x00b\ud83dé"})
    assert jobs.events(job.id)[-1].data == {"message": "a\x00b\ud83dé"}


def test_a_number_that_no_column_holds_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidRequestError, match="64 bits"):
        registry.alias_history("teacher", "default", after="9" * 30)
