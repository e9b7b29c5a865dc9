"""What the V2 variant leans on in vLLM, on CPU tensors and made-up answers; vLLM itself must be installed, no GPU."""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlt_core.errors import ScoringError
from rlt_service.engine.protocol import SequenceScoreRequest

pytestmark = pytest.mark.real

VOCABULARY, HIDDEN = 11, 4
REQUEST = SequenceScoreRequest(token_ids=(5, 6, 7, 8, 9), start=2, temperature=0.5, adapter=None)


def runner_with_our_worker() -> Any:
    """Give what a V2 runner has after it loaded its model, our worker in the place of vLLM's."""
    from vllm.v1.worker.gpu.sample.prompt_logprob import PromptLogprobsWorker

    from rlt_service.engine.scoring_runner_v2 import put_in_place

    theirs = PromptLogprobsWorker(4, torch.device("cpu"), "processed_logprobs")
    runner = SimpleNamespace(prompt_logprobs_worker=theirs)
    put_in_place(runner)
    return runner


def batch(**spans: range) -> Any:
    """Lay out a step as vLLM's InputBatch does: `name=range(computed, computed + scheduled)`."""
    scheduled = [len(span) for span in spans.values()]
    return SimpleNamespace(
        req_ids=list(spans),
        num_computed_prefill_tokens_np=np.array([span.start for span in spans.values()]),
        num_scheduled_tokens=np.array(scheduled),
        query_start_loc_np=np.cumsum([0, *scheduled]),
    )


def scores(values: Sequence[float] | None, *, cached: int = 0) -> Any:
    """Answer as vLLM does: log-probs of given ids."""
    found = None if values is None else np.array(values, dtype=np.float32)[:, None]
    return SimpleNamespace(prompt_token_id_logprobs=found, num_cached_tokens=cached)


def step(runner: Any, hidden: torch.Tensor, spans: Any) -> dict[str, torch.Tensor]:
    worker = runner.prompt_logprobs_worker
    return worker.compute_prompt_token_id_logprobs(lambda rows: rows.clone(), hidden, spans, np.array([5] * 4))


def test_our_worker_scores_what_the_variant_asks_at_its_temperature_and_counts() -> None:
    from rlt_service.engine.scoring_runner_v2 import positions_scored_by
    from rlt_service.engine.scoring_variants import VARIANTS

    runner = runner_with_our_worker()
    worker = runner.prompt_logprobs_worker
    worker.add_request(
        "generation", 0, SimpleNamespace(prompt_logprobs=None, prompt_logprob_token_ids=None, extra_args=None)
    )
    worker.add_request("score", 1, VARIANTS["v2"].params(REQUEST, read_cache=True))
    logits = torch.randn(8, VOCABULARY, generator=torch.Generator().manual_seed(0))
    assert step(runner, logits[:5], batch(generation=range(2), score=range(3))) == {}
    done = step(runner, torch.cat([logits[5:6], logits[6:8]]), batch(generation=range(2, 3), score=range(3, 5)))
    # rows 1 to 3 of the scored prompt predict its ids 7, 8 and 9
    wanted = torch.log_softmax(logits[[3, 4, 6]] / 0.5, dim=-1).gather(1, torch.tensor([[7], [8], [9]]))
    assert done.keys() == {"score"}
    assert torch.allclose(done["score"], wanted, atol=1e-5)
    assert positions_scored_by(runner) == 3
    answer: Any = SimpleNamespace(prompt_token_id_logprobs=done["score"].numpy(), num_cached_tokens=0)
    assert VARIANTS["v2"].read(answer, REQUEST).logprobs == pytest.approx(wanted[:, 0].tolist(), abs=1e-5)


def test_where_vllm_answers_nothing_our_worker_answers_nan_and_the_gap_is_seen() -> None:
    from rlt_service.engine.scoring_variants import VARIANTS

    runner = runner_with_our_worker()
    runner.prompt_logprobs_worker.add_request("score", 1, VARIANTS["v2"].params(REQUEST, read_cache=True))
    done = step(runner, torch.zeros(2, VOCABULARY), batch(score=range(3, 5)))
    assert done["score"][:, 0].isnan().tolist() == [True, True, False]
    answer: Any = SimpleNamespace(prompt_token_id_logprobs=done["score"].numpy(), num_cached_tokens=3)
    assert VARIANTS["v2"].has_gap(answer, REQUEST)


def test_requests_without_our_parameters_stay_with_vllm() -> None:
    from vllm import SamplingParams

    runner = runner_with_our_worker()
    worker = runner.prompt_logprobs_worker
    ids = np.array([[7]], dtype=np.int32)
    worker.add_request("theirs", 0, SamplingParams(prompt_logprob_token_ids=ids, prompt_logprob_start=1))
    worker.add_request("plain", 1, SamplingParams(prompt_logprobs=0))
    assert worker.token_id_scores.keys() == {"theirs"}
    assert worker.uses_prompt_logprobs.tolist() == [False, True, False, False]
    assert "theirs" not in worker.scores


def test_request_that_is_gone_is_forgotten() -> None:
    from rlt_service.engine.scoring_variants import VARIANTS

    worker = runner_with_our_worker().prompt_logprobs_worker
    worker.add_request("score", 1, VARIANTS["v2"].params(REQUEST, read_cache=True))
    assert "score" in worker.scores
    worker.remove_request("score")
    assert "score" not in worker.scores


def test_stage_of_a_pipeline_without_vllms_worker_gets_none_of_ours() -> None:
    from rlt_service.engine.scoring_runner_v2 import positions_scored_by, put_in_place

    runner = SimpleNamespace(prompt_logprobs_worker=None)
    put_in_place(runner)
    assert runner.prompt_logprobs_worker is None
    assert positions_scored_by(runner) == 0


def test_given_ids_and_their_first_row_are_what_vllm_takes() -> None:
    from rlt_service.engine.scoring_variants import VARIANTS

    params: Any = VARIANTS["v2"].params(REQUEST, read_cache=True)
    # One row for each id from the start on; the row before the start predicts the first of them.
    assert (params.prompt_logprob_token_ids.tolist(), params.prompt_logprob_start) == ([[7], [8], [9]], 1)
    assert params.prompt_logprobs is None
    assert params.skip_reading_prefix_cache is False
    assert VARIANTS["v2"].params(REQUEST, read_cache=False).skip_reading_prefix_cache is True


@pytest.mark.parametrize(
    ("values", "cached", "gap"),
    [
        ([-1.0, -1.0, -1.0], 0, False),
        ([-1.0, -1.0, -1.0], 1, False),
        ([-1.0, -1.0, -1.0], 2, True),
        ([math.nan, -1.0, -1.0], 0, True),
        (None, 0, True),
    ],
)
def test_gap_is_what_the_cache_reached_or_what_is_not_there(values: list[float] | None, cached: int, gap: bool) -> None:
    from rlt_service.engine.scoring_variants import VARIANTS

    assert VARIANTS["v2"].has_gap(scores(values, cached=cached), REQUEST) is gap


@pytest.mark.parametrize("values", [None, [-1.0, -1.0], [-1.0] * 4, [-1.0, math.nan, -1.0], [-1.0, -1.0, -math.inf]])
def test_missing_surplus_or_non_finite_score_is_an_error(values: list[float] | None) -> None:
    from rlt_service.engine.scoring_variants import VARIANTS

    with pytest.raises(ScoringError):
        VARIANTS["v2"].read(scores(values), REQUEST)
