import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from rlt_core.artifacts import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_sha256
from rlt_core.errors import InvalidAdapterError
from rlt_service.engine.adapters import rules_for_base, validate_adapter
from rlt_service.engine.protocol import AdapterRef
from tests.engine.adapter_files import random_tensors, write_adapter

BASE = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "num_hidden_layers": 2,
}
RULES = rules_for_base(BASE, base_name="builtin:smollm2-135m", max_rank=8)
Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj"


def adapter_with(folder: Path, **changes: Any) -> AdapterRef:
    given: dict[str, Any] = {"layers": 2} | changes
    return write_adapter(folder, **given)


def tensors_with(**changes: np.ndarray) -> dict[str, np.ndarray]:
    return random_tensors(layers=2) | {f"{Q_PROJ}.{name}.weight": tensor for name, tensor in changes.items()}


def rehashed(adapter: AdapterRef) -> AdapterRef:
    return replace(adapter, sha256=adapter_sha256(adapter.path))


def test_sound_adapter_passes(tmp_path: Path) -> None:
    validate_adapter(adapter_with(tmp_path), rules=RULES)


@pytest.mark.parametrize(
    "base",
    [None, "", "smollm2-135m", "builtin:smollm2-135m", "/models/SmolLM2-135M/", "HuggingFaceTB/SmolLM2-135M"],
)
def test_same_base_under_another_path_passes(tmp_path: Path, base: str | None) -> None:
    validate_adapter(adapter_with(tmp_path, config={"base_model_name_or_path": base}), rules=RULES)


PINNED = replace(RULES, base_name=f"hub:HuggingFaceTB/SmolLM2-135M@{'a' * 40}")


@pytest.mark.parametrize("base", ["HuggingFaceTB/SmolLM2-135M", PINNED.base_name, "/models/SmolLM2-135M"])
def test_an_adapter_of_the_same_commit_or_of_none_passes(tmp_path: Path, base: str) -> None:
    validate_adapter(adapter_with(tmp_path, config={"base_model_name_or_path": base}), rules=PINNED)


def test_an_adapter_of_another_commit_of_the_base_is_refused(tmp_path: Path) -> None:
    other = f"hub:HuggingFaceTB/SmolLM2-135M@{'b' * 40}"
    with pytest.raises(InvalidAdapterError, match="was trained on"):
        validate_adapter(adapter_with(tmp_path, config={"base_model_name_or_path": other}), rules=PINNED)


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"r": 16}, "rank 16"),
        ({"r": 0}, "rank 0"),
        ({"r": True}, "rank True"),
        ({"rank_pattern": {"q_proj": 99}}, "rank 99"),
        ({"rank_pattern": {"(([a-z0-9_.])+)+X": 4}}, "the layer"),
        ({"alpha_pattern": {"q_proj.*": 4}}, "the layer"),
        ({"alpha_pattern": {"q_proj": "4"}}, "lora_alpha '4'"),
        ({"alpha_pattern": [4]}, r"alpha_pattern \[4\]"),
        ({"lora_alpha": None}, "lora_alpha"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "biases"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"target_modules": ["embed_tokens"]}, "embed_tokens"),
        ({"target_modules": []}, "target_modules"),
        ({"base_model_name_or_path": "qwen3-8b"}, "qwen3-8b"),
    ],
)
def test_config_that_cannot_serve_is_refused_with_the_reason(
    tmp_path: Path, config: dict[str, Any], fault: str
) -> None:
    with pytest.raises(InvalidAdapterError, match=fault) as caught:
        validate_adapter(adapter_with(tmp_path, config=config), rules=RULES)
    assert "algebra@1" in caught.value.detail


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        ({}, "no tensor"),
        (tensors_with(lora_A=np.full((4, 576), np.nan, dtype=np.float32)), "NaN or infinity"),
        (tensors_with(lora_B=np.full((576, 4), np.inf, dtype=np.float16)), "NaN or infinity"),
        (tensors_with(lora_A=np.zeros((4, 575), dtype=np.float32)), "575"),
        (tensors_with(lora_A=np.zeros((3, 576), dtype=np.float32)), "unmatched"),
        (tensors_with(lora_A=np.zeros((4, 576), dtype=np.int32)), "I32"),
        (random_tensors(layers=2, rank=16), "rank 16"),
        (random_tensors(layers=2, rank=2), r"rank 2, its adapter_config.json says \[4\]"),
        (random_tensors(layers=3), "layer 2"),
        ({"base_model.model.lm_head.lora_A.weight": np.zeros((4, 576), dtype=np.float32)}, "lm_head"),
        ({f"{Q_PROJ}.lora_A.weight": np.zeros((4, 576), dtype=np.float32)}, "unmatched"),
    ],
)
def test_weights_that_cannot_serve_are_refused_with_the_reason(
    tmp_path: Path, tensors: dict[str, np.ndarray], fault: str
) -> None:
    with pytest.raises(InvalidAdapterError, match=fault):
        validate_adapter(adapter_with(tmp_path, tensors=tensors), rules=RULES)


@pytest.mark.parametrize("bits", [0x7F80, 0xFF80, 0x7FC0])  # infinity, -infinity, NaN
def test_bfloat16_weights_are_checked_too(tmp_path: Path, bits: int) -> None:
    adapter = adapter_with(tmp_path, tensors=tensors_with(lora_A=np.full((4, 576), bits, dtype=np.uint16)))
    weights = adapter.path / ADAPTER_WEIGHTS
    weights.write_bytes(weights.read_bytes().replace(b'"U16"', b'"BF16"', 1).replace(b" ", b"", 1))
    with pytest.raises(InvalidAdapterError, match="NaN or infinity"):
        validate_adapter(rehashed(adapter), rules=RULES)


def _pickle_beside(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04N.")


def _link_to_weights(folder: Path) -> None:
    (folder / ADAPTER_WEIGHTS).rename(folder / "elsewhere")
    (folder / ADAPTER_WEIGHTS).symlink_to(folder / "elsewhere")


def _half_of_the_weights(folder: Path) -> None:
    whole = (folder / ADAPTER_WEIGHTS).read_bytes()
    (folder / ADAPTER_WEIGHTS).write_bytes(whole[: len(whole) // 2])


def _config_is_no_json(folder: Path) -> None:
    (folder / ADAPTER_CONFIG).write_text("{")


def _config_nests_without_end(folder: Path) -> None:
    (folder / ADAPTER_CONFIG).write_text("[" * 100_000)


def _config_is_a_list(folder: Path) -> None:
    (folder / ADAPTER_CONFIG).write_text("[]")


def _other_weights(folder: Path) -> None:
    save_file(random_tensors(layers=2, seed=9), folder / ADAPTER_WEIGHTS)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_pickle_beside, "can carry code"),
        (_link_to_weights, "holds a link"),
        (_half_of_the_weights, "damaged"),
        (_config_is_no_json, "no JSON"),
        (_config_is_a_list, "peft_type"),
        (_config_nests_without_end, "no JSON"),
        (_other_weights, "sha256"),
        (lambda folder: (folder / ADAPTER_WEIGHTS).unlink(), f"holds no {ADAPTER_WEIGHTS}"),
        (lambda folder: (folder / ADAPTER_CONFIG).unlink(), f"holds no {ADAPTER_CONFIG}"),
    ],
)
def test_spoilt_folder_is_refused_with_the_reason(tmp_path: Path, spoil: Callable[[Path], object], fault: str) -> None:
    adapter = adapter_with(tmp_path)
    spoil(adapter.path)
    with pytest.raises(InvalidAdapterError, match=fault):
        validate_adapter(adapter, rules=RULES)


def test_linked_folder_is_refused(tmp_path: Path) -> None:
    adapter = adapter_with(tmp_path / "real")
    (tmp_path / "link").symlink_to(adapter.path)
    with pytest.raises(InvalidAdapterError, match="no folder"):
        validate_adapter(replace(adapter, path=tmp_path / "link"), rules=RULES)


def test_hash_covers_both_files_and_nothing_else(tmp_path: Path) -> None:
    adapter = adapter_with(tmp_path)
    (tmp_path / "README.md").write_text("a note")
    assert adapter_sha256(tmp_path) == adapter.sha256
    config = json.loads((tmp_path / ADAPTER_CONFIG).read_text())
    (tmp_path / ADAPTER_CONFIG).write_text(json.dumps(config | {"r": 5}))
    assert adapter_sha256(tmp_path) != adapter.sha256
