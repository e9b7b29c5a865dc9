"""Scoring in the steps of a model runner, on made-up hidden states: the arithmetic of the V2 variant without vLLM."""

from collections.abc import Mapping, Sequence

import pytest
import torch

from rlt_service.engine.prompt_rows import ScoringParameters
from rlt_service.engine.prompt_scores import PromptScores, StepPart

VOCABULARY, HIDDEN = 11, 4


class LittleModel:
    """Hidden states of each prompt, one linear layer, and the sizes in which its logits were asked for."""

    def __init__(self, prompts: Mapping[str, Sequence[int]]) -> None:
        dice = torch.Generator().manual_seed(0)
        self.prompts = prompts
        self.weights = torch.randn(VOCABULARY, HIDDEN, generator=dice)
        self.hidden = {name: torch.randn(len(ids), HIDDEN, generator=dice) for name, ids in prompts.items()}
        self.sizes: list[int] = []

    def compute_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(hidden))
        return hidden @ self.weights.T

    def wanted(self, name: str, parameters: ScoringParameters) -> torch.Tensor:
        """Score a prompt the long way, all of it at once."""
        logits = self.hidden[name][parameters.start - 1 : -1] @ self.weights.T / parameters.temperature
        targets = torch.tensor(self.prompts[name][parameters.start :])
        return torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0]

    def step(self, scores: PromptScores, spans: Mapping[str, range]) -> dict[str, torch.Tensor]:
        """Run one step: lay the rows of each prompt one after another, as a model runner does."""
        rows: list[torch.Tensor] = []
        parts: list[StepPart] = []
        for name, span in spans.items():
            first_row = sum(map(len, rows))
            rows.append(self.hidden[name][span.start : span.stop])
            if name in scores:
                parts.append(StepPart(name=name, computed=span.start, scheduled=len(span), first_row=first_row))
        return scores.step(parts, hidden_states=torch.cat(rows), compute_logits=self.compute_logits)


def add(scores: PromptScores, model: LittleModel, name: str, parameters: ScoringParameters) -> None:
    scores.add(name, targets_P=torch.tensor(model.prompts[name][parameters.start :]), parameters=parameters)


COLD = ScoringParameters(start=4, temperature=0.7)
PLAIN = ScoringParameters(start=1, temperature=1.0)


@pytest.mark.parametrize("cuts", [[9], [4, 5], [1, 1, 7], [3, 3, 3], [8, 1], [2, 6, 1]])
def test_prompts_of_other_starts_and_temperatures_share_a_batch_however_they_are_cut(cuts: list[int]) -> None:
    model = LittleModel({"cold": range(1, 10), "other": range(9), "plain": range(9, 0, -1)})
    scores = PromptScores()
    add(scores, model, "cold", COLD)
    add(scores, model, "plain", PLAIN)
    done: dict[str, torch.Tensor] = {}
    computed = 0
    for count in cuts:
        span = range(computed, computed + count)
        done |= model.step(scores, dict.fromkeys(model.prompts, span))
        computed += count
    assert done.keys() == {"cold", "plain"}
    assert torch.allclose(done["cold"], model.wanted("cold", COLD), atol=1e-5)
    assert torch.allclose(done["plain"], model.wanted("plain", PLAIN), atol=1e-5)
    assert scores.scored_positions == 5 + 8
    assert "cold" not in scores


def test_logits_are_computed_for_wanted_rows_only_and_a_bounded_number_at_once() -> None:
    model = LittleModel({"long": [token % VOCABULARY for token in range(700)]})
    scores = PromptScores()
    parameters = ScoringParameters(start=100, temperature=0.7)
    add(scores, model, "long", parameters)
    done = model.step(scores, {"long": range(700)})
    assert sum(model.sizes) == 600
    assert max(model.sizes) == 256
    assert torch.allclose(done["long"], model.wanted("long", parameters), atol=1e-5)


def test_cached_prefix_up_to_the_row_before_the_start_changes_nothing() -> None:
    model = LittleModel({"a": range(1, 10)})
    scores = PromptScores()
    add(scores, model, "a", COLD)
    done = model.step(scores, {"a": range(3, 9)})
    assert torch.allclose(done["a"], model.wanted("a", COLD), atol=1e-5)


def test_cached_prefix_that_reaches_past_the_start_leaves_nan_and_no_silence() -> None:
    model = LittleModel({"a": range(1, 10)})
    scores = PromptScores()
    add(scores, model, "a", COLD)
    done = model.step(scores, {"a": range(5, 9)})
    assert done["a"].isnan().tolist() == [True, True, False, False, False]
    assert scores.scored_positions == 3


def test_prompt_that_is_wholly_cached_but_for_its_last_token_is_all_nan() -> None:
    model = LittleModel({"a": range(1, 10)})
    scores = PromptScores()
    add(scores, model, "a", COLD)
    done = model.step(scores, {"a": range(8, 9)})
    assert done["a"].isnan().all()
    assert model.sizes == []


def test_preempted_prompt_that_is_added_again_keeps_nothing_of_its_first_run() -> None:
    model = LittleModel({"a": range(1, 10)})
    scores = PromptScores()
    add(scores, model, "a", COLD)
    assert model.step(scores, {"a": range(6)}) == {}
    scores.remove("a")
    add(scores, model, "a", PLAIN)
    done = model.step(scores, {"a": range(9)})
    assert torch.allclose(done["a"], model.wanted("a", PLAIN), atol=1e-5)
