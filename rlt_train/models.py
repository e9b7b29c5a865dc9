"""Own the model in the trainer's memory, from folder to folder: the base with one LoRA adapter, or all of it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, Trainer

from rlt_core.artifacts import adapter_sha256, weights_sha256
from rlt_core.errors import ConfigurationError
from rlt_core.schemas.training import LoraSpec
from rlt_train.durable import durable_folder
from rlt_train.ranks import own_rank
from rlt_train.sharding import gathered, sharded_like, whole
from rlt_train.together import meet

ADAPTER = "default"
"""PEFT's name of the adapter that is trained."""
Policy = PeftModel | PreTrainedModel
"""What is trained: an adapter on its frozen base, or a whole model."""
_ONE_FILE = "100TB"


def use_all_cores() -> None:
    """Let torch compute on every core that this process may use; ranks of one machine share them."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(available // own_rank().count_here, 1))


def load_policy(base_dir: Path, *, adapter_dir: Path | None, lora: LoraSpec, seed: int) -> PeftModel:
    """Load the base with the adapter that training continues from, or with a fresh one of `lora`'s shape.

    fp32 without an accelerator (bf16 is emulated there, several times slower), the checkpoint's own type with one;
    the adapter is fp32 in both.
    """
    base = _load(base_dir, dtype="auto" if torch.cuda.is_available() else torch.float32)
    if adapter_dir is not None:
        return PeftModel.from_pretrained(base, adapter_dir, adapter_name=ADAPTER, is_trainable=True)
    torch.manual_seed(seed)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType] - PEFT only multiplies by it
        target_modules=list(lora.targets),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    policy = get_peft_model(base, config, adapter_name=ADAPTER)
    if not isinstance(policy, PeftModel):
        raise TypeError(f"PEFT made a {type(policy).__name__} of the base: only plain adapters are trained")
    return policy


def load_whole(base_dir: Path) -> PreTrainedModel:
    """Load a whole model to train every weight of, in fp32 everywhere: small steps would be lost in bfloat16."""
    return _load(base_dir, dtype=torch.float32)


def _load(base_dir: Path, *, dtype: Any) -> PreTrainedModel:
    base: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        base_dir, dtype=dtype, attn_implementation="sdpa", local_files_only=True, trust_remote_code=False
    )
    base.config.use_cache = False
    return base


def load_padding_tokenizer(base_dir: Path) -> PreTrainedTokenizerBase:
    """Load what TRL wants to hold: it pads with it and decodes for its own log; ids never come from it."""
    tokenizer = AutoTokenizer.from_pretrained(base_dir, local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Give the one id that fills up batches; it is masked wherever it stands."""
    value = tokenizer.pad_token_id
    if not isinstance(value, int):
        raise ConfigurationError(f"the base's tokenizer has the padding id {value!r}: it needs one whole number")
    return value


def trained_model(trainer: Trainer) -> Policy:
    """Give what a trainer trains, without what accelerate wrapped around it."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if not isinstance(model, PeftModel | PreTrainedModel):
        raise TypeError(f"the trainer holds a {type(model).__name__}, which cannot be saved")
    return model


def policy_rank(policy: Policy) -> int | None:
    """Read the rank of the adapter that is trained; None for a whole model."""
    return adapter_rank(policy) if isinstance(policy, PeftModel) else None


def adapter_rank(policy: PeftModel) -> int:
    """Read the rank of the adapter that is trained."""
    return int(_adapter_config(policy)["r"])


def save_policy(policy: Policy, target: Path, *, base_model: str) -> str:
    """Write what was trained, whole or not at all, and give its hash: an adapter, or a model that engines take.

    All ranks call it, as they call `save_adapter`.
    """
    if isinstance(policy, PeftModel):
        return save_adapter(policy, target, base_model=base_model)
    tensors = policy_tensors(policy)
    if own_rank().is_first:
        with durable_folder(target) as folder:
            policy.save_pretrained(folder, state_dict=tensors, max_shard_size=_ONE_FILE)
    meet()
    return weights_sha256(target)


def save_adapter(policy: PeftModel, target: Path, *, base_model: str) -> str:
    """Write the trained adapter as a PEFT folder, whole or not at all, and give its hash.

    All ranks call it: the first writes, the others wait.
    """
    tensors = adapter_tensors(policy)
    if own_rank().is_first:
        write_adapter(tensors, policy, target, base_model=base_model)
    meet()
    return adapter_sha256(target)


def adapter_tensors(policy: PeftModel) -> dict[str, Tensor]:
    """Give the trained adapter by PEFT's names, on the CPU and whole; all ranks call it together."""
    with gathered(policy):
        tensors = get_peft_model_state_dict(policy, adapter_name=ADAPTER, save_embedding_layers=False)
        return {name: whole(tensor).detach().to("cpu").contiguous() for name, tensor in tensors.items()}


def policy_tensors(policy: Policy) -> dict[str, Tensor]:
    """Give what is trained, on the CPU and whole: an adapter by PEFT's names, a model by its own; all ranks call it."""
    if isinstance(policy, PeftModel):
        return adapter_tensors(policy)
    with gathered(policy):
        return {name: whole(tensor).detach().to("cpu").contiguous() for name, tensor in own_weights(policy).items()}


def put_tensors(policy: Policy, tensors: Mapping[str, Tensor]) -> None:
    """Give what is trained the tensors that `policy_tensors` gave once, cut up as it is."""
    if isinstance(policy, PeftModel):
        like = get_peft_model_state_dict(policy, adapter_name=ADAPTER, save_embedding_layers=False)
        set_peft_model_state_dict(policy, sharded_like(tensors, like), adapter_name=ADAPTER)
    else:
        policy.load_state_dict(sharded_like(tensors, own_weights(policy)), strict=False)  # tied ones are not named


def own_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """Give a model's tensors by name, those that are tied to another left out: they come back with it."""
    return {name: tensor for name, tensor in model.state_dict().items() if name not in model.all_tied_weights_keys}


def write_adapter(tensors: dict[str, Tensor], policy: PeftModel, target: Path, *, base_model: str) -> None:
    """Write such tensors as a PEFT folder, whole or not at all.

    Not PEFT's own writer: that one looks the base up on the hub, and writes this machine's path into the config.
    """
    config = _adapter_config(policy) | {"base_model_name_or_path": base_model, "inference_mode": True}
    with durable_folder(target) as folder:
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        text = json.dumps(config, indent=2, sort_keys=True, default=_plain)
        (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")


def _adapter_config(policy: PeftModel) -> dict[str, Any]:
    return policy.peft_config[ADAPTER].to_dict()


def _plain(value: object) -> object:
    # PEFT keeps target modules in a set; sorted, the same adapter gives the same bytes.
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
