"""Check a LoRA adapter's files before an engine sees them: kind, rank, base, shapes, finiteness, hash. No torch."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from rlt_core.artifacts import ADAPTER_CONFIG, ADAPTER_FILES, ADAPTER_WEIGHTS, adapter_sha256, as_told
from rlt_core.errors import InvalidAdapterError
from rlt_service.engine.protocol import AdapterRef
from rlt_service.engine.weight_files import UnfitError, check_finite, check_folder, read_header, read_json

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Layers that an adapter may change; lm_head and embeddings are ignored by prompt log-probs (vLLM #51594)."""

_TENSOR_NAME = re.compile(r"\.layers\.(\d{1,6})\.(?:\w+)\.(\w+)\.lora_([AB])\.weight$")
_LAYER = re.compile(r"[\w.]{1,300}")
_UNSUPPORTED = ("use_dora", "modules_to_save", "lora_bias", "layer_replication", "trainable_token_indices")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRules:
    """What the engine can take. `shapes` maps a layer to its (in, out); None stands for what is not known or any."""

    max_rank: int
    base_name: str | None
    layers: int | None = None
    shapes: Mapping[str, tuple[int, int]] | None = None


def rules_for_base(base_config: Mapping[str, Any], *, base_name: str, max_rank: int) -> AdapterRules:
    """Derive the rules from a dense transformer's config.json."""
    hidden, inner = base_config["hidden_size"], base_config["intermediate_size"]
    heads = base_config["num_attention_heads"]
    width = base_config.get("head_dim") or hidden // heads
    keys = (base_config.get("num_key_value_heads") or heads) * width
    shapes = {
        "q_proj": (hidden, heads * width),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (heads * width, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }
    return AdapterRules(max_rank=max_rank, base_name=base_name, layers=base_config["num_hidden_layers"], shapes=shapes)


def validate_adapter(adapter: AdapterRef, *, rules: AdapterRules) -> None:
    """Read the adapter's files whole and raise InvalidAdapterError, saying what to do, for anything unfit."""
    try:
        check_folder(adapter.path, needs=ADAPTER_FILES, remedy="Save it with PEFT's save_pretrained (safetensors).")
        stated = _check_config(adapter, rules=rules)
        _check_weights(adapter, rules=rules, stated=stated)
        digest = adapter_sha256(adapter.path)
    except OSError as error:
        raise _unfit(adapter, f"cannot be read: {error}", remedy="Publish it again.") from error
    except UnfitError as fault:
        raise _unfit(adapter, fault.what, remedy=fault.remedy) from fault
    if digest != adapter.sha256:
        raise _unfit(
            adapter,
            f"has sha256 {digest}, the registry says {adapter.sha256}",
            remedy="Its files changed after they were registered: publish them as a new version.",
        )


def _unfit(adapter: AdapterRef, what: str, *, remedy: str) -> InvalidAdapterError:
    said = f"Adapter {adapter.version} at {adapter.path} {what}. {remedy}"
    return InvalidAdapterError(as_told(said, adapter.path))


def _check_config(adapter: AdapterRef, *, rules: AdapterRules) -> set[int]:
    """Read the config and return the ranks that it states."""
    config = read_json(adapter.path / ADAPTER_CONFIG)
    if config.get("peft_type") != "LORA":
        raise UnfitError(f"has an {ADAPTER_CONFIG} without peft_type LORA", "Only LoRA adapters can be served.")
    for alpha in [config.get("lora_alpha"), *_pattern(config, "alpha_pattern").values()]:
        if not isinstance(alpha, int | float) or not abs(alpha) <= sys.float_info.max:
            raise UnfitError(f"has lora_alpha {alpha!r}", "It must be a finite number.")
    for feature in _UNSUPPORTED:
        if config.get(feature):
            raise UnfitError(f"uses {feature}={config[feature]!r}", "Train it without, vLLM does not carry it out.")
    if config.get("bias", "none") != "none":
        raise UnfitError(f"trains biases (bias={config['bias']!r})", "Train it with bias='none'.")
    ranks = _check_rank(config, rules=rules)
    _check_targets(config.get("target_modules"))
    _check_base(config.get("base_model_name_or_path"), rules=rules)
    return ranks


def _pattern(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Read what a config says of single layers, whose names vLLM takes as regular expressions: they may be none."""
    pattern: object = config.get(name) or {}
    if not isinstance(pattern, dict):
        raise UnfitError(f"has {name} {pattern!r}", "It must map layers to numbers.")
    for layer in cast("dict[object, Any]", pattern):
        if not isinstance(layer, str) or not _LAYER.fullmatch(layer):
            raise UnfitError(f"has the layer {layer!r} in {name}", "Name layers by letters, digits, _ and dots.")
    return cast("dict[str, Any]", pattern)


def _check_rank(config: dict[str, Any], *, rules: AdapterRules) -> set[int]:
    ranks: set[int] = set()
    for rank in [config.get("r"), *_pattern(config, "rank_pattern").values()]:
        if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= rules.max_rank:
            raise UnfitError(
                f"has rank {rank!r}, this engine takes 1 to {rules.max_rank}", "Raise RLT_MAX_LORA_RANK and restart."
            )
        ranks.add(rank)
    return ranks


def _check_targets(targets: object) -> None:
    names = [targets] if isinstance(targets, str) else targets
    if not isinstance(names, list) or not names:
        raise UnfitError(f"has target_modules {targets!r}", f"List some of {', '.join(LORA_TARGETS)}.")
    for name in cast("list[object]", names):
        if not isinstance(name, str) or name.rpartition(".")[2] not in (*LORA_TARGETS, "all-linear"):
            raise UnfitError(
                f"targets {name!r}",
                f"Train only {', '.join(LORA_TARGETS)}: on lm_head and embeddings log-probs would be wrong "
                "(vLLM #51594).",
            )


def _check_base(stated: object, *, rules: AdapterRules) -> None:
    """Compare the last parts of the names: paths differ between hosts, the model's own name does not.

    A commit behind it counts where both name one.
    """
    if not stated or not rules.base_name:
        return
    (name, commit), (served, pinned) = _last_name(str(stated)), _last_name(rules.base_name)
    if name != served or (commit and pinned and commit != pinned):
        raise UnfitError(
            f"was trained on {stated!r}, this engine serves {rules.base_name!r}", "Train it on the base served here."
        )


def _last_name(reference: str) -> tuple[str, str]:
    name, _, commit = re.split(r"[/\\:]", reference.rstrip("/\\"))[-1].lower().partition("@")
    return name, commit


def _check_weights(adapter: AdapterRef, *, rules: AdapterRules, stated: set[int]) -> None:
    path = adapter.path / ADAPTER_WEIGHTS
    header = read_header(path)
    ranks = _check_names_and_shapes(header, rules=rules)
    if max(ranks) > rules.max_rank:
        raise UnfitError(
            f"holds tensors of rank {max(ranks)}, this engine takes {rules.max_rank}", "Raise RLT_MAX_LORA_RANK."
        )
    if not ranks <= stated:  # the config's rank divides alpha
        raise UnfitError(
            f"holds tensors of rank {max(ranks - stated)}, its {ADAPTER_CONFIG} says {sorted(stated)}",
            "Save both files from one training.",
        )
    check_finite(path)


def _check_names_and_shapes(header: dict[str, Any], *, rules: AdapterRules) -> set[int]:
    """Match every tensor with a layer of the base, and every A with a B of the same rank; return the ranks."""
    ranks: dict[tuple[str, str], dict[str, int]] = {}
    for name, entry in header.items():
        found = _TENSOR_NAME.search(name)
        layer, module, side = found.groups() if found else ("0", "", "")
        if module not in LORA_TARGETS:
            raise UnfitError(f"holds the tensor {name!r}", f"Train only {', '.join(LORA_TARGETS)} (vLLM #51594).")
        shape: list[int] = entry["shape"]
        wanted = _wanted_width(module, layer=int(layer), side=side, rules=rules)
        rank, width = (shape if side == "A" else shape[::-1]) if len(shape) == 2 else (0, None)
        if rank < 1 or wanted not in (None, width):
            raise UnfitError(f"holds {name!r} of shape {shape}, the base needs {wanted}", "Train it on this base.")
        ranks.setdefault((layer, module), {})[side] = rank
    for (layer, module), sides in ranks.items():
        if set(sides) != {"A", "B"} or sides["A"] != sides["B"]:
            raise UnfitError(f"has unmatched lora_A and lora_B in layer {layer} {module}", "Save the adapter again.")
    return {sides["A"] for sides in ranks.values()}


def _wanted_width(module: str, *, layer: int, side: str, rules: AdapterRules) -> int | None:
    if rules.layers is not None and layer >= rules.layers:
        raise UnfitError(f"changes layer {layer}, the base has {rules.layers}", "Train it on this base.")
    return None if rules.shapes is None else rules.shapes[module][0 if side == "A" else 1]
