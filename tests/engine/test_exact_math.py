"""What scored prompts are computed by, without an engine; vLLM itself must be installed."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.real

HEADS, KEY_HEADS, WIDTH, BLOCK = 6, 2, 64, 32
NO_CACHE = torch.zeros(0, KEY_HEADS, BLOCK, 2 * WIDTH)


def draws(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_hand(query_QHD: torch.Tensor, keys_TKD: torch.Tensor, values_TKD: torch.Tensor) -> torch.Tensor:
    """Attend in float64, one query and head at a time."""
    rows, tokens = len(query_QHD), len(keys_TKD)
    attended = torch.zeros(rows, HEADS, WIDTH, dtype=torch.float64)
    for row in range(rows):
        seen = tokens - rows + row + 1
        for head in range(HEADS):
            own = head // (HEADS // KEY_HEADS)
            weights = (keys_TKD[:seen, own].double() @ query_QHD[row, head].double() * WIDTH**-0.5).softmax(dim=0)
            attended[row, head] = weights @ values_TKD[:seen, own].double()
    return attended


@pytest.mark.parametrize(("rows", "before"), [(1, 39), (5, 35), (40, 0), (200, 0), (410, 0), (410, 40)])
def test_the_last_rows_attend_to_all_that_came_before_and_to_nothing_after(rows: int, before: int) -> None:
    from rlt_service.engine.exact_math import attend

    query, keys, values = draws(rows, HEADS, WIDTH, seed=1), *draws(2, before + rows, KEY_HEADS, WIDTH, seed=2)
    found = attend(query, keys, values, scale=WIDTH**-0.5)
    torch.testing.assert_close(found.double(), by_hand(query, keys, values), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("kernels", ["vec", "vec16"])
@pytest.mark.parametrize("block", [32, 64])
def test_what_vllm_wrote_into_its_cache_is_read_again_bit_by_bit(kernels: str, block: int) -> None:
    from vllm import _custom_ops as ops

    from rlt_service.engine.exact_math import read_cache

    keys, values = draws(2, 70, KEY_HEADS, WIDTH, seed=3)
    cache = draws(5, KEY_HEADS, block, 2 * WIDTH, seed=4)
    blocks = torch.tensor([3, 1, 4, 0])
    slots = torch.tensor([int(blocks[token // block]) * block + token % block for token in range(70)])
    into_keys, into_values = cache.view(5, KEY_HEADS, 2 * block, WIDTH).chunk(2, dim=2)
    ops.cpu_attn_reshape_and_cache(
        keys, values, into_keys, into_values, slots, kernels, k_scale=1.0, v_scale=1.0, kv_cache_dtype="auto"
    )
    read_keys, read_values = read_cache(cache, blocks, length=70)
    assert torch.equal(read_keys, keys)
    assert torch.equal(read_values, values)


def fill_with_ones(
    self: Any, layer: Any, query: Any, key: Any, value: Any, cache: Any, step: Any, output: torch.Tensor
) -> torch.Tensor:
    """Stand for vLLM's attention."""
    return output.fill_(1.0)


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put our ways beside vLLM's, and take them away again at the end."""
    from vllm.model_executor.layers import utils
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackendImpl

    from rlt_service.engine.exact_math import use_exact_math

    def pack(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = lambda x, weight, bias: "packed"
        if remove_weight:
            layer.weight = torch.empty(0)

    monkeypatch.setattr(utils, "dispatch_cpu_unquantized_gemm", pack)
    monkeypatch.setattr(CPUAttentionBackendImpl, "forward", fill_with_ones)
    use_exact_math()
    return SimpleNamespace(dispatch=utils.dispatch_cpu_unquantized_gemm, attention=CPUAttentionBackendImpl)


@pytest.mark.parametrize("remove_weight", [True, False])
def test_products_are_torchs_where_a_step_scores_and_vllms_elsewhere(patched: Any, remove_weight: bool) -> None:
    from rlt_service.engine.exact_math import exact_math

    weight, x = draws(7, 5, seed=5), draws(3, 5, seed=6)
    layer = SimpleNamespace(weight=weight)
    patched.dispatch(layer, remove_weight)
    assert layer.cpu_linear(x, layer.weight, None) == "packed"
    with exact_math():
        assert torch.equal(layer.cpu_linear(x, layer.weight, None), x @ weight.T)
    assert layer.cpu_linear(x, layer.weight, None) == "packed"


def plain_attention(**changed: Any) -> Any:
    from vllm.v1.attention.backend import AttentionType

    facts: dict[str, Any] = {
        "attn_type": AttentionType.DECODER,
        "sliding_window": -1,
        "alibi_slopes": None,
        "logits_soft_cap": 0,
        "sinks": None,
        "is_fp8_kv_cache": False,
        "kv_sharing_target_layer_name": None,
        "scale": WIDTH**-0.5,
    }
    return SimpleNamespace(**{**facts, **changed})


def by_whom(patched: Any, attention: Any, *, causal: Any = True) -> list[str]:
    """Attend in two sequences of 3 and 4 tokens, whole, in one step; name who computed each."""
    query, output = draws(7, HEADS, WIDTH, seed=7), torch.zeros(7, HEADS * WIDTH)
    keys, values = draws(2, 7, KEY_HEADS, WIDTH, seed=8)
    step = SimpleNamespace(
        causal=causal, query_start_loc=torch.tensor([0, 3, 7]), seq_lens=torch.tensor([3, 4]), block_table=None
    )
    patched.attention.forward(attention, None, query, keys, values, NO_CACHE, step, output)
    found: list[str] = []
    for rows in (slice(0, 3), slice(3, 7)):
        wanted = by_hand(query[rows], keys[rows], values[rows]).reshape(-1, HEADS * WIDTH)
        if torch.allclose(output[rows].double(), wanted, atol=1e-6, rtol=0.0):
            found.append("torch")
        elif bool((output[rows] == 1.0).all()):
            found.append("vLLM")
    return found


@pytest.mark.parametrize(
    ("scored", "expected"),
    [([0, 1], ["torch", "torch"]), ([1], ["vLLM", "torch"]), ([0], ["torch", "vLLM"]), ([], ["vLLM", "vLLM"])],
)
def test_scored_sequences_attend_by_torch_and_those_beside_them_as_ever(
    patched: Any, scored: list[int], expected: list[str]
) -> None:
    from rlt_service.engine.exact_math import exact_math

    assert by_whom(patched, plain_attention()) == ["vLLM", "vLLM"]
    with exact_math(scored=scored):
        assert by_whom(patched, plain_attention()) == expected


def test_a_step_that_breaks_leaves_nothing_to_the_next(patched: Any) -> None:
    from rlt_service.engine import exact_math

    def break_off(scored: list[int]) -> None:
        with exact_math.exact_math(scored=scored):
            by_whom(patched, plain_attention())
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        break_off([0, 1])
    step = exact_math._Step
    assert (step.scored, step.masks, step.sequences) == (None, {}, [])


def test_sequences_that_share_a_prefix_attend_to_it_and_read_it_once(
    patched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlt_service.engine import exact_math

    query, output = draws(7, HEADS, WIDTH, seed=9), torch.zeros(7, HEADS * WIDTH)
    fresh, cached = draws(2, 7, KEY_HEADS, WIDTH, seed=10), draws(2, 40, KEY_HEADS, WIDTH, seed=11)
    read: list[list[int]] = []

    def from_cache(kv_cache: Any, blocks: torch.Tensor, *, length: int) -> Any:
        read.append(blocks.tolist())
        return tuple(part[:length] + len(read) - 1 for part in cached)

    monkeypatch.setattr(exact_math, "read_cache", from_cache)
    # Three sequences of 2, 3 and 2 new tokens: two after the same 40, one after 20 that lie elsewhere.
    step = SimpleNamespace(
        causal=True,
        query_start_loc=torch.tensor([0, 2, 5, 7]),
        seq_lens=torch.tensor([42, 43, 22]),
        block_table=torch.tensor([[4, 2, 7], [4, 2, 9], [5, 0, 0]]),
    )
    elsewhere = SimpleNamespace(**{**vars(step), "block_table": step.block_table + 10})  # of another group of layers
    with exact_math.exact_math(scored=[0, 1, 2]):
        for metadata, wanted in ((step, [[4, 2], [5]]), (elsewhere, [[14, 12], [15]]), (step, [[4, 2], [5]])):
            read.clear()
            patched.attention.forward(plain_attention(), None, query, *fresh, NO_CACHE, metadata, output)
            assert read == wanted
    for rows, length, other in ((slice(0, 2), 40, 0), (slice(2, 5), 40, 0), (slice(5, 7), 20, 1)):
        keys, values = (torch.cat([cached[n, :length] + other, fresh[n, rows]]) for n in (0, 1))
        wanted = by_hand(query[rows], keys, values).reshape(-1, HEADS * WIDTH)
        torch.testing.assert_close(output[rows].double(), wanted, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda: plain_attention(sliding_window=128),
        lambda: plain_attention(alibi_slopes=torch.ones(HEADS)),
        lambda: plain_attention(logits_soft_cap=30.0),
        lambda: plain_attention(sinks=torch.ones(HEADS)),
        lambda: plain_attention(is_fp8_kv_cache=True),
        lambda: plain_attention(attn_type="encoder_only"),
        lambda: plain_attention(kv_sharing_target_layer_name="model.layers.0"),
    ],
    ids=["window", "alibi", "softcap", "sinks", "fp8", "encoder", "shared"],
)
def test_attention_that_adds_something_stays_vllms(patched: Any, change: Callable[[], Any]) -> None:
    from rlt_service.engine.exact_math import exact_math

    with exact_math(scored=[0, 1]):
        assert by_whom(patched, change()) == ["vLLM", "vLLM"]
        assert by_whom(patched, plain_attention(), causal=False) == ["vLLM", "vLLM"]
