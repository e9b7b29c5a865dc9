"""The conversion of the builtin model, on the real file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlt_service.engine.models import MANIFEST_NAME, resolve_model

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def folder(rlt_home_models: Path) -> Path:
    return resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_second_call_converts_nothing(folder: Path, rlt_home_models: Path) -> None:
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_broken_folder_is_converted_again_to_the_same_files(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "models" / folder.name
    copy.mkdir(parents=True)
    (copy / "config.json").write_text("{}")
    (copy / MANIFEST_NAME).write_bytes((folder / MANIFEST_NAME).read_bytes())
    resolve_model("builtin:smollm2-135m", state_folder=tmp_path)
    assert (copy / MANIFEST_NAME).read_bytes() == (folder / MANIFEST_NAME).read_bytes()
    assert (copy / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    assert not list((tmp_path / "models").glob(".smollm2-135m-*"))


def test_control_tokens_have_their_known_ids(tokenizer: Any) -> None:
    assert tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]) == [0, 1, 2]
    assert tokenizer.eos_token_id == 2


def test_digits_stand_alone_and_texts_come_back(tokenizer: Any) -> None:
    text = "  In 2024, it's 3.14 née 日本\n\tdone."
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids) == text
    assert all(
        len(tokenizer.decode([token]).strip()) == 1 for token in ids if tokenizer.decode([token]).strip().isdigit()
    )


def test_chat_template_is_the_models_own(tokenizer: Any) -> None:
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    )


def test_converted_model_speaks_sense_and_ends_its_turn(folder: Path, tokenizer: Any) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    generated = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "capital of France is Paris" in tokenizer.decode(generated)
    assert generated[-1].item() == 2
