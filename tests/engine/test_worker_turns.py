"""The worker's turn lasts for a whole step: what vLLM does in it is a stand-in; vLLM itself must be installed."""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.real

STEP: Any = SimpleNamespace(total_num_scheduled_tokens=7)


class Told:
    """Core turns that write down what they were told, beside what the engine did."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def begin(self, *, tokens: int) -> None:
        self.events.append(f"begin {tokens}")

    def end(self) -> None:
        self.events.append("end")


def worker(monkeypatch: pytest.MonkeyPatch, told: Told, *, found: Any) -> Any:
    """Build a worker without an engine, whose steps find this."""
    from rlt_service.engine.scoring_worker import CPUScoringWorker, CPUWorker

    def execute(self: Any, scheduled: Any) -> Any:
        told.events.append("compute")
        if isinstance(found, Exception):
            raise found
        return found

    def sample(self: Any, grammar: Any) -> Any:
        told.events.append("sample")
        return "tokens"

    monkeypatch.setattr(CPUWorker, "execute_model", execute)
    monkeypatch.setattr(CPUWorker, "sample_tokens", sample)
    made: Any = CPUScoringWorker.__new__(CPUScoringWorker)
    made.core_turns = told
    return made


def test_a_turn_lasts_until_the_tokens_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    made = worker(monkeypatch, told, found=None)
    assert made.execute_model(STEP) is None
    assert made.sample_tokens(None) == "tokens"
    assert told.events == ["begin 7", "compute", "sample", "end"]


def test_a_step_that_samples_nothing_ends_with_its_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    assert worker(monkeypatch, told, found="nothing to sample").execute_model(STEP) == "nothing to sample"
    assert told.events == ["begin 7", "compute", "end"]


def test_a_step_that_fails_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    with pytest.raises(RuntimeError):
        worker(monkeypatch, told, found=RuntimeError("no memory")).execute_model(STEP)
    assert told.events == ["begin 7", "compute", "end"]
