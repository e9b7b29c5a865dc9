from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config

from rlt_train.grpo import PASS_TOKENS, forward_passes
from rlt_train.token_tree import build_tree, can_share_beginnings, tree_logprobs

pytestmark = pytest.mark.training

CPU = torch.device("cpu")
IDS = st.integers(min_value=3, max_value=6)  # few ids, so that sequences often begin alike
ROWS = st.lists(
    st.tuples(st.lists(IDS, min_size=1, max_size=4), st.lists(IDS, min_size=1, max_size=5)), min_size=1, max_size=6
)
Rows = list[tuple[list[int], list[int]]]


@pytest.fixture(scope="module")
def model(base_dir: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(base_dir, dtype=torch.float32)


def apart(model: LlamaForCausalLM, rows: Rows, temperature: float) -> torch.Tensor:
    parts: list[torch.Tensor] = []
    for prompt, completion in rows:
        ids = torch.tensor([prompt + completion])
        logprobs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0] / temperature, -1)
        parts.append(logprobs[len(prompt) - 1 : -1].gather(1, torch.tensor(completion)[:, None])[:, 0])
    return torch.cat(parts)


def test_tree_lays_out_every_beginning_once() -> None:
    tree = build_tree([([7, 8], [3, 4]), ([7, 8], [3, 5]), ([7, 9], [3])], device=CPU)
    assert tree.input_ids_1T.tolist() == [[7, 8, 3, 4, 5, 9, 3]]
    assert tree.position_ids_1T.tolist() == [[0, 1, 2, 3, 3, 1, 2]]
    assert tree.read_R.tolist() == [1, 2, 2, 5]
    assert tree.targets_R.tolist() == [3, 4, 5, 3]
    assert tree.reads_C.tolist() == [0, 1, 0, 2, 3]
    # Row by row: 5 sees 7, 8, 3 and itself, but not 4; the second question sees of the first only what they share.
    assert tree.mask_11TT[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 1, 0, 0],
        [1, 0, 0, 0, 0, 1, 0],
        [1, 0, 0, 0, 0, 1, 1],
    ]


@settings(max_examples=40)
@given(rows=ROWS)
def test_one_pass_gives_the_logprobs_of_separate_rows(model: LlamaForCausalLM, rows: Rows) -> None:
    with torch.no_grad():
        together, _ = tree_logprobs(model, build_tree(rows, device=CPU), temperature=0.7)
        assert torch.allclose(together, apart(model, rows, 0.7), atol=1e-5)


def test_one_pass_gives_the_gradient_of_separate_rows(model: LlamaForCausalLM) -> None:
    rows = [([7, 8, 9], [3, 4, 5]), ([7, 8, 9], [3, 4]), ([7, 8], [9, 6]), ([7, 8, 9], [3, 4, 5])]
    weights = torch.arange(1.0, 11.0)  # one for each completion token, so that none can stand for another
    gradients: list[torch.Tensor] = []
    for together in (True, False):
        model.zero_grad()
        logprobs = (
            tree_logprobs(model, build_tree(rows, device=CPU), temperature=0.7)[0]
            if together
            else apart(model, rows, 0.7)
        )
        (logprobs * weights).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-3, rtol=1e-4)


def test_entropy_is_that_of_the_distribution_read(model: LlamaForCausalLM) -> None:
    with torch.no_grad():
        _, entropies = tree_logprobs(model, build_tree([([7], [3, 4])], device=CPU), temperature=1.0)
        probabilities = torch.softmax(model(input_ids=torch.tensor([[7, 3]])).logits[0], -1)
    expected = -(probabilities * probabilities.log()).sum(-1)
    assert torch.allclose(entropies, expected, atol=1e-5)


def test_only_models_of_full_attention_share_beginnings() -> None:
    assert can_share_beginnings(LlamaConfig())
    assert can_share_beginnings(Qwen2Config())
    sliding = Qwen2Config(use_sliding_window=True, sliding_window=16, max_window_layers=0)
    assert not can_share_beginnings(sliding)


@given(
    groups=st.lists(
        st.tuples(st.integers(1, 3000), st.lists(st.integers(1, 3000), min_size=1, max_size=4)), min_size=1, max_size=5
    )
)
def test_passes_cover_all_rows_in_order_and_fit(groups: list[tuple[int, list[int]]]) -> None:
    prompts = [number for number, (_, completions) in enumerate(groups) for _ in completions]
    sizes = [(prompt, completion) for prompt, completions in groups for completion in completions]
    passes = forward_passes(prompts, sizes)
    assert [row for part in passes for row in range(part.start, part.stop)] == list(range(len(sizes)))
    for part in passes:
        members = set(prompts[part])
        tokens = sum(groups[number][0] for number in members) + sum(size for _, size in sizes[part])
        assert len(members) == 1
        assert tokens <= PASS_TOKENS or part.stop - part.start == 1
