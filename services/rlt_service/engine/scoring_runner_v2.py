"""Score prompts inside vLLM's V2 model runner (GPUs), as `scoring_runner.py` does inside the V1 runner.

**Not run on a GPU.** Tested on CPU tensors and made-up logits; `self_check.py` decides at every start.

Leans on the inside of vLLM 0.32: `v1/worker/gpu/sample/prompt_logprob.py`. `GPUModelRunner.load_model` makes a
`PromptLogprobsWorker` (`prompt_logprobs_worker`), tells it of each request (`add_request`, `remove_request`) and asks
it in each step (`compute_prompt_token_id_logprobs`) with `compute_logits` and the batch (`req_ids`,
`query_start_loc_np`, `num_scheduled_tokens`, `num_computed_prefill_tokens_np`); the ids to score lie in
`token_id_scores[...].token_ids`. vLLM's own code knows no temperature, and answers nothing where a cached prefix
reaches past the start row. A preempted request is added anew, its earlier rows forgotten: where its own blocks then
come from the cache, its first positions are NaN. Prompt log-probs leave out LoRA on lm_head (vLLM #51594), so such
adapters are refused (`adapters.py`).
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from vllm.config.model import LogprobsMode
from vllm.sampling_params import SamplingParams
from vllm.v1.worker.gpu.input_batch import InputBatch
from vllm.v1.worker.gpu.sample.prompt_logprob import PromptLogprobsWorker

from rlt_service.engine.prompt_rows import scoring_parameters
from rlt_service.engine.prompt_scores import PromptScores, StepPart


class PromptScoringWorker(PromptLogprobsWorker):
    """Scores requests that carry our parameters, leaves all others to vLLM."""

    def __init__(self, theirs: PromptLogprobsWorker) -> None:
        """Take the place of the runner's own, which has no request yet."""
        super().__init__(theirs.max_num_reqs, theirs.device, cast("LogprobsMode", theirs.logprobs_mode))
        self.scores = PromptScores()

    def add_request(self, req_id: str, req_idx: int, sampling_params: SamplingParams) -> None:
        """Let vLLM read the parameters and bring the ids to the device; keep what is ours."""
        super().add_request(req_id, req_idx, sampling_params)
        parameters = scoring_parameters(sampling_params.extra_args)
        if parameters is not None and req_id in self.token_id_scores:
            targets_P = self.token_id_scores.pop(req_id).token_ids[:, 0]
            self.scores.add(req_id, targets_P=targets_P, parameters=parameters)

    def remove_request(self, req_id: str) -> None:
        """Forget a request that ended, was aborted or was preempted."""
        super().remove_request(req_id)
        self.scores.remove(req_id)

    def compute_prompt_token_id_logprobs(
        self,
        logits_fn: Callable[[torch.Tensor], torch.Tensor],
        hidden_states: torch.Tensor,
        input_batch: InputBatch,
        prompt_lens: np.ndarray,
    ) -> dict[str, torch.Tensor]:
        """Score our requests here and the others upstream; ours are [wanted positions, 1]."""
        theirs = super().compute_prompt_token_id_logprobs(logits_fn, hidden_states, input_batch, prompt_lens)
        parts = [
            StepPart(
                name=name,
                computed=int(input_batch.num_computed_prefill_tokens_np[index]),
                scheduled=int(input_batch.num_scheduled_tokens[index]),
                first_row=int(input_batch.query_start_loc_np[index]),
            )
            for index, name in enumerate(input_batch.req_ids)
            if name in self.scores
        ]
        ours = self.scores.step(parts, hidden_states=hidden_states, compute_logits=logits_fn)
        return theirs | {name: results_P[:, None] for name, results_P in ours.items()}


def put_in_place(runner: Any) -> None:
    """Give a V2 runner whose model is loaded our worker instead of its own; only a pipeline's last stage has one."""
    if runner.prompt_logprobs_worker is not None:
        runner.prompt_logprobs_worker = PromptScoringWorker(runner.prompt_logprobs_worker)


def positions_scored_by(runner: Any) -> int:
    """Count the positions that our worker scored in a V2 runner."""
    scorer = runner.prompt_logprobs_worker
    return scorer.scores.scored_positions if isinstance(scorer, PromptScoringWorker) else 0
