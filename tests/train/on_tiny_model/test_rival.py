"""What `make bench-train` compares with computes the same reward as it would one by one, and as the method says."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks.train.rival import Reward, in_batches, one_by_one
from rlt_core.formats import ExplanationPiece
from tests.train.plain_step import plain_reward, token_logprobs

pytestmark = pytest.mark.training


def test_batches_change_no_log_prob(base_dir: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32).eval()
    sequences = [([5 + (place * 7) % 200 for place in range(length)], length // 2) for length in (40, 11, 23, 8, 31)]
    alone = one_by_one(model, sequences, 0.7)
    together = in_batches(model, sequences, 0.7, size=3)
    for mine, theirs in zip(alone, together, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
    assert [len(found) for found in alone] == [len(ids) - first for ids, first in sequences]


def test_its_reward_is_the_method_s(base_dir: Any, codec: Any) -> None:
    torch.manual_seed(1)
    student = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32).eval()
    teacher = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in teacher.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    reward = Reward(codec, student=student, forward=one_by_one, temperature=0.7)
    reward.teacher = teacher
    completion = codec.encode_text("one more")
    found = reward([completion], question=["1 + 1?"], solution=["It is 2."])
    prompt = codec.teacher_sequence(question="1 + 1?", solution="It is 2.").token_ids
    told = codec.student_sequence(
        question="1 + 1?", solution="It is 2.", explanation=ExplanationPiece(token_ids=tuple(completion))
    )
    start, end = told.explanation.start, told.explanation.end
    heard = token_logprobs(student, told.token_ids[:start], told.token_ids[start:], temperature=0.7).tolist()
    wanted = plain_reward(
        solution_logprobs=heard[told.solution.start - start : told.solution.end - start],
        teacher_logprobs=token_logprobs(teacher, prompt, completion, temperature=0.7).tolist(),
        student_logprobs=heard[: end - start],
        closed=False,
    )
    assert found == [pytest.approx(wanted, abs=1e-4)]
