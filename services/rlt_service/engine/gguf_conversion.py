"""Turn a llama-family GGUF file into a transformers folder: fp32 safetensors, config, tokenizer with its template."""

# The types of gguf, safetensors and tokenizers are incomplete, so this module is checked less strictly.
# pyright: standard

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, ReaderTensor, TokenType, dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from tqdm import tqdm

from rlt_core.errors import ConfigurationError

_LAYER_WEIGHTS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_TOP_WEIGHTS = {"token_embd": "embed_tokens", "output_norm": "norm"}


def convert_gguf(source: Path, folder: Path) -> None:
    """Write `source` as a transformers folder into the existing `folder`, with a progress bar on stderr.

    Knows what SmolLM2's file needs: Llama with tied embeddings and the `smollm` pre-tokenizer; anything else raises
    ConfigurationError.
    """
    reader = GGUFReader(source)
    meta = {name: field.contents() for name, field in reader.fields.items()}
    _check_kind(meta, reader=reader, source=source)
    config = _model_config(meta)
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", _generation_config(meta))
    _write_tokenizer(meta, folder=folder)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights: dict[str, np.ndarray] = {}
    for tensor in tqdm(reader.tensors, desc=f"Converting {source.name}", unit="tensor"):
        name, kind = _weight_name(tensor.name)
        weights[name] = _weight(tensor, heads=heads.get(kind))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _check_kind(meta: dict[str, Any], *, reader: GGUFReader, source: Path) -> None:
    seen = (meta["general.architecture"], meta.get("tokenizer.ggml.model"), meta.get("tokenizer.ggml.pre"))
    tied = not any(tensor.name == "output.weight" for tensor in reader.tensors)
    if seen != ("llama", "gpt2", "smollm") or not tied:
        raise ConfigurationError(
            f"{source.name} is {seen} (tied embeddings: {tied}); only ('llama', 'gpt2', 'smollm') with tied embeddings "
            "can be converted. Point the base model at a transformers folder instead."
        )


def _model_config(meta: dict[str, Any]) -> dict[str, Any]:
    heads = meta["llama.attention.head_count"]
    hidden = meta["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": meta["llama.feed_forward_length"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "head_dim": hidden // heads,
        "max_position_embeddings": meta["llama.context_length"],
        "rms_norm_eps": float(f"{meta['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(meta["llama.rope.freq_base"])},
        "vocab_size": meta["llama.vocab_size"],
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "dtype": "float32",
        **_special_ids(meta),
    }


def _special_ids(meta: dict[str, Any]) -> dict[str, int]:
    return {
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
    }


def _generation_config(meta: dict[str, Any]) -> dict[str, Any]:
    return {"_from_model_config": True, **_special_ids(meta)}


def _write_tokenizer(meta: dict[str, Any], *, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json; digits stand alone, then byte-level BPE (SmolLM2's own)."""
    tokens: list[str] = meta["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    control = [
        token
        for token, kind in zip(tokens, meta["tokenizer.ggml.token_type"], strict=True)
        if kind == TokenType.CONTROL
    ]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokens[meta["tokenizer.ggml.bos_token_id"]],
            "eos_token": tokens[meta["tokenizer.ggml.eos_token_id"]],
            "pad_token": tokens[meta["tokenizer.ggml.padding_token_id"]],
            "unk_token": tokens[meta["tokenizer.ggml.unknown_token_id"]],
            "model_max_length": meta["llama.context_length"],
            "clean_up_tokenization_spaces": False,
            "chat_template": meta["tokenizer.chat_template"],
        },
    )


def _weight_name(gguf_name: str) -> tuple[str, str]:
    """Map `blk.3.attn_q.weight` to its transformers name and its kind (`attn_q`)."""
    parts = gguf_name.removesuffix(".weight").split(".")
    if parts[0] == "blk" and parts[2] in _LAYER_WEIGHTS:
        return f"model.layers.{parts[1]}.{_LAYER_WEIGHTS[parts[2]]}.weight", parts[2]
    if parts[0] in _TOP_WEIGHTS:
        return f"model.{_TOP_WEIGHTS[parts[0]]}.weight", parts[0]
    raise ConfigurationError(f"The GGUF file holds {gguf_name!r}, which this conversion does not know.")


def _weight(tensor: ReaderTensor, *, heads: int | None) -> np.ndarray:
    """Dequantise to fp32 [out, in]; `heads` undoes llama.cpp's interleaving of each head's rotary halves."""
    weight = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    if heads is not None:
        rows, columns = weight.shape
        weight = weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return np.ascontiguousarray(weight)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
