"""Log-probs by pieces of the vocabulary against a log-softmax of whole rows in float64."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rlt_service.engine.output_layer import PIECE, OutputLayer

ROWS, WIDTH = 6, 8
WORDS = 2 * PIECE + 5  # two pieces and a rest


def draws(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_whole_rows(
    hidden_RH: torch.Tensor, weight_VH: torch.Tensor, *, targets_R: torch.Tensor, temperatures_R: torch.Tensor
) -> torch.Tensor:
    logits_RV = hidden_RH.double() @ weight_VH.double().T / temperatures_R[:, None].double()
    return logits_RV.log_softmax(dim=-1).gather(1, targets_R[:, None])[:, 0]


@pytest.mark.parametrize("scale", [1.0, 60.0], ids=["near", "far apart"])
def test_logprobs_are_those_of_whole_rows_wherever_target_and_top_lie(scale: float) -> None:
    hidden, weight = draws(ROWS, WIDTH, seed=1) * scale, draws(WORDS, WIDTH, seed=2)
    asked = {
        "targets_R": torch.tensor([0, PIECE - 1, PIECE, 2 * PIECE - 1, 2 * PIECE, WORDS - 1]),
        "temperatures_R": torch.tensor([1.0, 0.7, 0.5, 1.3, 1.0, 0.7]),
    }
    found = OutputLayer(weight_VH=weight).target_logprobs(hidden, **asked)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), by_whole_rows(hidden, weight, **asked), atol=2e-5, rtol=1e-6)


class Largest(TorchDispatchMode):
    """Note the most elements that any operation gives."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and look at what it gives."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def test_what_lies_in_memory_does_not_grow_with_the_vocabulary() -> None:
    hidden, weight = draws(200, WIDTH, seed=3), draws(8 * PIECE, WIDTH, seed=4)
    targets = torch.zeros(200, dtype=torch.int64)
    with Largest() as largest:
        OutputLayer(weight_VH=weight).target_logprobs(hidden, targets_R=targets, temperatures_R=torch.ones(200))
    assert largest.elements == 200 * PIECE


def model(**changed: Any) -> Any:
    class LogitsProcessor(SimpleNamespace):
        pass

    facts: dict[str, Any] = {
        "org_vocab_size": 90,
        "soft_cap": None,
        "scale": 1.0,
        "head_dtype": torch.float32,
        "logits_as_input": False,
        "weight": draws(96, WIDTH, seed=5),
        "bias": None,
        "tp_size": 1,
    }
    facts |= changed
    head = {name: facts.pop(name) for name in ("weight", "bias", "tp_size")}
    return SimpleNamespace(logits_processor=LogitsProcessor(**facts), lm_head=SimpleNamespace(**head))


def test_padding_of_the_vocabulary_is_no_word() -> None:
    found = OutputLayer.of(model())
    assert found is not None
    assert len(found.weight_VH) == 90


def test_layers_that_are_wrapped_for_lora_are_found_inside() -> None:
    wrapped = model()
    wrapped.lm_head = SimpleNamespace(base_layer=wrapped.lm_head)
    wrapped.logits_processor = SimpleNamespace(base_layer=wrapped.logits_processor)
    assert OutputLayer.of(wrapped) is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda: model(soft_cap=30.0),
        lambda: model(scale=0.5),
        lambda: model(bias=torch.zeros(96)),
        lambda: model(tp_size=2),
        lambda: model(weight=draws(96, WIDTH, seed=5).bfloat16()),
        lambda: model(weight=torch.empty(0)),
        lambda: model(head_dtype=torch.bfloat16),
        lambda: model(logits_as_input=True),
        lambda: SimpleNamespace(),
    ],
    ids=["cap", "scale", "bias", "tensor parallel", "bfloat16", "no weight", "other dtype", "logits", "other model"],
)
def test_a_model_whose_logits_are_more_than_a_product_computes_them_itself(change: Callable[[], Any]) -> None:
    assert OutputLayer.of(change()) is None


def test_a_model_without_a_logits_processor_or_with_fewer_rows_than_words_computes_them_itself() -> None:
    lone, short = model(), model(weight=draws(80, WIDTH, seed=5))
    del lone.logits_processor
    assert OutputLayer.of(lone) is None
    assert OutputLayer.of(short) is None


@pytest.mark.parametrize(
    ("more", "proven"),
    [
        (lambda logits: logits, True),
        (lambda logits: logits * 1.1, False),
        (lambda logits: logits[:, :-1], False),
        (lambda logits: logits.index_fill(1, torch.tensor([3]), -torch.inf), False),
    ],
    ids=["product", "scaled", "fewer words", "a word that is never said"],
)
def test_a_layer_is_used_where_it_gives_what_the_model_gives(
    more: Callable[[torch.Tensor], torch.Tensor], proven: bool
) -> None:
    one = model()
    one.compute_logits = lambda hidden: more(hidden @ one.lm_head.weight[:90].T)
    assert (OutputLayer.proven(one, draws(ROWS, WIDTH, seed=7)) is not None) is proven


@pytest.mark.real
def test_vllms_own_layers_have_what_is_read_of_them() -> None:
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.model_executor.layers.logits_processor import LogitsProcessor

    with set_current_vllm_config(VllmConfig()):
        processor = LogitsProcessor(96, 90)
    head = SimpleNamespace(weight=draws(96, WIDTH, seed=6))
    found = OutputLayer.of(SimpleNamespace(logits_processor=processor, lm_head=head))
    assert found is not None
    assert len(found.weight_VH) == 90
