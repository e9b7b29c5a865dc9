"""A random Llama of two layers on the byte tokenizer, small enough that vLLM scores thousands of tokens a second."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlt_tokens import byte_codec, save_byte_tokenizer


def save_tiny_model(folder: Path, *, seed: int = 0) -> Path:
    """Write config, weights and tokenizer; the weights are large, so that log-probs differ by whole nats."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=byte_codec().vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    save_byte_tokenizer(folder)
    return folder
