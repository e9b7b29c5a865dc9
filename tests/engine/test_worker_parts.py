"""The parts of the worker that lean on vLLM's inside, without an engine; vLLM itself must be installed."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch

from rlt_service.engine.models import resolve_model
from rlt_service.engine.prompt_rows import ScoringParameters
from rlt_service.engine.protocol import Weights
from rlt_service.settings import Settings
from rlt_tokens import load_codec

pytestmark = pytest.mark.real

VOCABULARY, HIDDEN = 11, 4


def little_runner(prompts: Mapping[str, tuple[list[int], ScoringParameters | None]], weights: torch.Tensor) -> Any:
    """Build a runner that has what scoring reads, around a one-layer model."""
    from rlt_service.engine.scoring_runner import PromptScoring

    class LittleRunner(PromptScoring):
        def __init__(self) -> None:
            self.num_prompt_logprobs = dict.fromkeys(prompts, 0)
            requests: Any = {name: _request(*facts) for name, facts in prompts.items()}
            self.requests = requests
            self.input_batch = SimpleNamespace(req_id_to_index={name: n for n, name in enumerate(prompts)})
            self.model = SimpleNamespace(compute_logits=lambda hidden: hidden @ weights.T)

    return LittleRunner()


def _request(prompt: list[int], parameters: ScoringParameters | None) -> SimpleNamespace:
    extra = None if parameters is None else parameters.as_extra_args()
    return SimpleNamespace(
        prompt_token_ids=prompt,
        num_computed_tokens=0,
        in_progress_prompt_logprobs_cpu=None,
        sampling_params=SimpleNamespace(extra_args=extra),
    )


def step(runner: Any, scheduled: dict[str, int], hidden: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Run one step: lay the scheduled rows one after another, as the runner does, then move on."""
    rows, starts = [], [0]
    for name in runner.input_batch.req_id_to_index:
        computed, count = runner.requests[name].num_computed_tokens, scheduled.get(name, 0)
        rows.append(hidden[name][computed : computed + count])
        starts.append(starts[-1] + count)
    runner.query_start_loc = SimpleNamespace(np=torch.tensor(starts).numpy())
    done = runner._get_prompt_logprobs_dict(torch.cat(rows), scheduled)
    for name, count in scheduled.items():
        runner.requests[name].num_computed_tokens += count
    return done


@pytest.mark.parametrize("cuts", [[9], [4, 5], [1, 1, 7], [3, 3, 3], [8, 1], [2, 6, 1]])
def test_scores_are_the_same_however_a_prompt_is_cut_into_steps(cuts: list[int]) -> None:
    dice = torch.Generator().manual_seed(0)
    weights = torch.randn(VOCABULARY, HIDDEN, generator=dice)
    facts = {
        "a": ([1, 2, 3, 4, 5, 6, 7, 8, 9], ScoringParameters(start=4, temperature=0.7)),
        "b": ([9, 8, 7, 6, 5, 4, 3, 2, 1], ScoringParameters(start=1, temperature=1.0)),
    }
    hidden = {name: torch.randn(9, HIDDEN, generator=dice) for name in facts}
    runner = little_runner(facts, weights)
    done: dict[str, Any] = {}
    for count in cuts:
        done |= step(runner, dict.fromkeys(facts, count), hidden)
    assert runner.num_prompt_logprobs == {}
    assert runner.scored_positions == 5 + 8
    for name, (prompt, parameters) in facts.items():
        logits = hidden[name][parameters.start - 1 : -1] @ weights.T / parameters.temperature
        targets = torch.tensor(prompt[parameters.start :])
        wanted = torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])
        assert torch.allclose(done[name].logprobs, wanted, atol=1e-5)
        assert done[name].logprob_token_ids[:, 0].tolist() == targets.tolist()


def test_logits_are_computed_for_a_bounded_number_of_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from rlt_service.engine import scoring_runner

    monkeypatch.setattr(scoring_runner, "_ROWS_AT_ONCE", 3)
    weights = torch.eye(VOCABULARY, HIDDEN)
    facts = {name: ([1, 2, 3, 4, 5, 6], ScoringParameters(start=1, temperature=1.0)) for name in ("a", "b")}
    runner = little_runner(facts, weights)
    shapes: list[int] = []

    def compute_logits(hidden: torch.Tensor) -> torch.Tensor:
        shapes.append(len(hidden))
        return hidden @ weights.T

    runner.model = SimpleNamespace(compute_logits=compute_logits)
    step(runner, {"a": 6, "b": 6}, {name: torch.ones(6, HIDDEN) for name in facts})
    assert shapes == [3, 3, 3, 1]


def test_positions_behind_a_cached_prefix_stay_nan_and_can_pass_for_no_score() -> None:
    weights = torch.eye(VOCABULARY, HIDDEN)
    runner = little_runner({"a": ([1, 2, 3, 4, 5, 6], ScoringParameters(start=2, temperature=1.0))}, weights)
    runner.requests["a"].num_computed_tokens = 3
    done = step(runner, {"a": 3}, {"a": torch.ones(6, HIDDEN)})
    assert done["a"].logprobs[:, 0].isnan().tolist() == [True, True, False, False]


def test_a_draw_that_does_not_count_leaves_no_trace_in_the_generator_of_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    from rlt_service.engine.scoring_runner import ScoringCPUModelRunner

    generators = {place: torch.Generator().manual_seed(7) for place in range(3)}

    def draw(*_: object) -> list[float]:
        return [torch.rand(1, generator=generator).item() for generator in generators.values()]

    def keep_books(runner: Any, *_: object) -> None:
        assert sorted(runner.input_batch.generators) == [0, 2]  # of the others vLLM would set the offset

    monkeypatch.setattr(GPUModelRunner, "_sample", draw)
    monkeypatch.setattr(GPUModelRunner, "_bookkeeping_sync", keep_books)
    runner: Any = ScoringCPUModelRunner.__new__(ScoringCPUModelRunner)
    runner.input_batch = SimpleNamespace(generators=dict(generators), num_reqs=3)
    # The middle one has drawn once when it is preempted; its tokens are then read again in two parts.
    draws: list[list[float]] = []
    for unfinished in (False, True, False):
        runner.discard_request_mask = SimpleNamespace(np=np.array([False, unfinished, False]))
        draws.append(runner._sample())
        if unfinished:
            runner._bookkeeping_sync()
    assert [draws[0][1], draws[2][1]] == [draws[0][0], draws[1][0]]
    assert sorted(runner.input_batch.generators) == [0, 1, 2]


def test_tokens_are_grouped_by_adapter_and_the_base_is_left_out() -> None:
    from rlt_service.engine.grouped_lora import group_tokens

    groups = group_tokens(torch.tensor([-1, 2, 0, 2, -1]))
    assert [(slot, rows.tolist()) for slot, rows in groups if rows is not None] == [(0, [2]), (2, [1, 3])]
    assert group_tokens(torch.tensor([1, 1])) == [(1, None)]
    assert group_tokens(torch.tensor([-1, -1])) == []


def test_grouped_lora_adds_each_tokens_own_adapter() -> None:
    from rlt_service.engine.grouped_lora import GroupedLoRA

    dice = torch.Generator().manual_seed(1)
    slots = [1, -1, 0, 1]
    x, before = torch.randn(4, 6, generator=dice), torch.randn(4, 5, generator=dice)
    a = tuple(torch.randn(2, 1, 3, 6, generator=dice) for _ in range(2))
    b = tuple(torch.randn(2, 1, width, 3, generator=dice) for width in (2, 3))
    lora = GroupedLoRA(max_batched_tokens=8, max_batches=4, device=torch.device("cpu"))
    mapping: Any = SimpleNamespace(index_mapping=(8, 0, 7, 8), prompt_mapping=(8, 0, 7, 8), is_prefill=True)
    lora.update_metadata(mapping, [7, 8], 2, VOCABULARY)
    y = before.clone()
    lora.add_lora_linear(y, x, a, b, 0.5, (2, 3))
    for row, slot in enumerate(slots):
        delta = torch.cat([b[part][slot, 0] @ (a[part][slot, 0] @ x[row]) for part in range(2)])
        wanted = before[row] + (0.5 * delta if slot >= 0 else 0.0)
        assert torch.allclose(y[row], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("setting", "dtype", "exact"),
    [("exact", torch.float32, True), ("fast", torch.float32, False), ("exact", torch.bfloat16, False)],
)
def test_worker_computes_exactly_where_the_settings_ask_for_it_in_float32(
    setting: Literal["exact", "fast"], dtype: torch.dtype, exact: bool, rlt_home_models: Path
) -> None:
    from rlt_service.engine.scoring_worker import wants_exact_math
    from rlt_service.engine.vllm_engine import _sizes
    from rlt_service.engine.vllm_process import _arguments

    settings = Settings(home=rlt_home_models, scoring_math=setting)
    base = resolve_model(settings.base_model, state_folder=rlt_home_models)
    base_config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    weights = Weights(base_model=settings.base_model)
    options, _ = _sizes(settings, weights, base=base, base_config=base_config, codec=load_codec(base))
    config: Any = SimpleNamespace(
        additional_config=_arguments(options).additional_config, model_config=SimpleNamespace(dtype=dtype)
    )
    assert wants_exact_math(config) is exact


def test_a_worker_on_a_cpu_scores_by_pieces_of_the_vocabulary_once_that_is_proven() -> None:
    from rlt_service.engine.output_layer import OutputLayer
    from rlt_service.engine.scoring_runner import ScoringCPUModelRunner

    class LittleRunner(ScoringCPUModelRunner):
        def __init__(self, model: Any) -> None:
            self.model = model

    dice = torch.Generator().manual_seed(1)
    weight, hidden = torch.randn(VOCABULARY, HIDDEN, generator=dice), torch.randn(9, HIDDEN, generator=dice)
    asked = {"targets_R": torch.arange(9), "temperatures_R": torch.full((9,), 0.7)}
    whole: list[int] = []

    def compute_logits(rows: torch.Tensor) -> torch.Tensor:
        whole.append(len(rows))
        return rows @ weight.T

    class LogitsProcessor(SimpleNamespace):
        pass

    plain = LogitsProcessor(org_vocab_size=VOCABULARY, soft_cap=None, scale=1.0, head_dtype=None, logits_as_input=False)
    head = SimpleNamespace(weight=weight)
    known = LittleRunner(SimpleNamespace(compute_logits=compute_logits, lm_head=head, logits_processor=plain))
    other = LittleRunner(SimpleNamespace(compute_logits=compute_logits))
    found = [runner._target_logprobs(hidden, **asked) for runner in (known, known, other)]
    assert isinstance(known.output_layer, OutputLayer)
    assert other.output_layer is None
    assert whole == [4, 9]  # the proof's rows once, then all rows of a model that must do it itself
    torch.testing.assert_close(found[0], found[2])
    assert torch.equal(found[0], found[1])
