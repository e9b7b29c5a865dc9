from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config

from rlt_train.shared_prompt import build_tree, can_share_prompts, tree_logprobs

IDS = st.integers(min_value=3, max_value=6)  # few ids, so that completions often begin alike
COMPLETIONS = st.lists(st.lists(IDS, min_size=1, max_size=6), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def model(base_dir: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(base_dir, dtype=torch.float32)


def apart(model: LlamaForCausalLM, prompt: list[int], completion: list[int], temperature: float) -> torch.Tensor:
    ids = torch.tensor([prompt + completion])
    logprobs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0] / temperature, -1)
    return logprobs[len(prompt) - 1 : -1].gather(1, torch.tensor(completion)[:, None])[:, 0]


def test_tree_lays_out_every_beginning_once() -> None:
    tree = build_tree(torch.tensor([7, 8]), [[3, 4], [3, 5], [3]])
    assert tree.input_ids_1T.tolist() == [[7, 8, 3, 4, 5]]
    assert tree.position_ids_1T.tolist() == [[0, 1, 2, 3, 3]]
    assert tree.read_N.tolist() == [1, 2, 2]
    assert tree.nodes_C.tolist() == [0, 1, 0, 2, 0]
    # Row by row: the prompt sees what precedes it; 5 sees the prompt, 3 and itself, but not 4.
    assert tree.mask_11TT[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 0, 1],
    ]


@settings(max_examples=30, deadline=None)
@given(prompt=st.lists(IDS, min_size=1, max_size=5), completions=COMPLETIONS)
def test_one_pass_gives_the_logprobs_of_separate_rows(
    model: LlamaForCausalLM, prompt: list[int], completions: list[list[int]]
) -> None:
    with torch.no_grad():
        shared, _ = tree_logprobs(model, build_tree(torch.tensor(prompt), completions), temperature=0.7)
        separate = torch.cat([apart(model, prompt, completion, 0.7) for completion in completions])
    assert torch.allclose(shared, separate, atol=1e-5)


def test_one_pass_gives_the_gradient_of_separate_rows(model: LlamaForCausalLM) -> None:
    prompt, completions = [7, 8, 9], [[3, 4, 5], [3, 4], [6], [3, 4, 5]]
    weights = torch.arange(1.0, 10.0)  # one for each completion token, so that none can stand for another
    gradients: list[torch.Tensor] = []
    for together in (True, False):
        model.zero_grad()
        if together:
            logprobs, _ = tree_logprobs(model, build_tree(torch.tensor(prompt), completions), temperature=0.7)
        else:
            logprobs = torch.cat([apart(model, prompt, completion, 0.7) for completion in completions])
        (logprobs * weights).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-3, rtol=1e-4)


def test_entropy_is_that_of_the_distribution_read(model: LlamaForCausalLM) -> None:
    with torch.no_grad():
        _, entropies = tree_logprobs(model, build_tree(torch.tensor([7]), [[3, 4]]), temperature=1.0)
        probabilities = torch.softmax(model(input_ids=torch.tensor([[7, 3]])).logits[0], -1)
    expected = -(probabilities * probabilities.log()).sum(-1)
    assert torch.allclose(entropies, expected, atol=1e-5)


def test_only_models_of_full_attention_share_prompts() -> None:
    assert can_share_prompts(LlamaConfig())
    assert can_share_prompts(Qwen2Config())
    sliding = Qwen2Config(use_sliding_window=True, sliding_window=16, max_window_layers=0)
    assert not can_share_prompts(sliding)
