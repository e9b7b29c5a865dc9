import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from rlt_core.artifacts import WEIGHTS_INDEX, weights_sha256
from rlt_core.errors import InvalidWeightsError
from rlt_service.engine.full_weights import validate_full
from tests.engine.model_files import full_ref, tensors, write_model

TOKENIZER = {"model": {"type": "BPE", "vocab": {"a": 0}}}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = write_model(tmp_path / "base")
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tuned", seed=1)


def sharded(folder: Path, *, index: dict[str, str] | None = None) -> None:
    """Lay the weights out in two files, with an index."""
    (folder / "model.safetensors").unlink()
    found = list(tensors(seed=1).items())
    save_file(dict(found[:1]), folder / "model-1.safetensors")
    save_file(dict(found[1:]), folder / "model-2.safetensors")
    right = {found[0][0]: "model-1.safetensors"} | {name: "model-2.safetensors" for name, _ in found[1:]}
    (folder / WEIGHTS_INDEX).write_text(json.dumps({"weight_map": right if index is None else index}))


def test_a_model_of_the_bases_shape_passes(folder: Path, base: Path) -> None:
    validate_full(full_ref(folder), base=base)


def test_a_model_in_several_files_passes(folder: Path, base: Path) -> None:
    sharded(folder)
    validate_full(full_ref(folder), base=base)


def test_what_training_writes_otherwise_without_a_change_of_the_model_passes(folder: Path, base: Path) -> None:
    write_model(folder, config={"eos_token_id": 3, "use_cache": False, "dtype": "bfloat16", "hidden_act": "silu"})
    validate_full(full_ref(folder), base=base)


def test_the_bases_own_tokenizer_may_lie_beside_the_weights(folder: Path, base: Path) -> None:
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER, indent=2))
    validate_full(full_ref(folder), base=base)


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def pickled(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x80")


def code(folder: Path) -> None:
    (folder / "modeling_own.py").write_text("print()")


def linked(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.rename(folder.parent / "elsewhere.safetensors")
    path.symlink_to(folder.parent / "elsewhere.safetensors")


def other_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER | {"added_tokens": []}))


def tokenizer_that_the_base_has_not(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")


def twice(folder: Path) -> None:
    save_file(dict(list(tensors().items())[:1]), folder / "more.safetensors")


def config_is(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: write_model(folder, config=changes) and None


def tensors_are(**changes: np.ndarray | None) -> Callable[[Path], None]:
    """Change tensors by the last part of their names; None takes one out."""

    def spoil(folder: Path) -> None:
        found = {name: changes.get(name.split(".")[-2], value) for name, value in tensors(seed=1).items()}
        save_file({name: value for name, value in found.items() if value is not None}, folder / "model.safetensors")

    return spoil


def additional(folder: Path) -> None:
    save_file(tensors() | {"lm_head.weight": np.zeros((32, 8), np.float32)}, folder / "model.safetensors")


def wrong_index(folder: Path) -> None:
    sharded(folder, index={"model.norm.weight": "model-2.safetensors"})


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (no_config, "holds no config.json"),
    (no_weights, r"holds no \*.safetensors"),
    (truncated, "damaged model.safetensors"),
    (pickled, "can carry code"),
    (code, "can carry code"),
    (linked, "holds a link"),
    (other_tokenizer, "tokenizer.json other than the base's"),
    (tokenizer_that_the_base_has_not, "chat_template.jinja other than"),
    (twice, "twice, in model.safetensors and more.safetensors"),
    (config_is(vocab_size=64), "vocab_size = 64 in config.json, the base has 32"),
    (config_is(num_hidden_layers=2), "num_hidden_layers = 2"),
    (config_is(rms_norm_eps=0.1), "rms_norm_eps = 0.1"),
    (config_is(tie_word_embeddings=False), "tie_word_embeddings"),
    (config_is(architectures=["MistralForCausalLM"]), "architectures"),
    (config_is(model_type="mistral"), "in config.json, the base has"),
    (config_is(model_type="nobody-knows"), "cannot be read"),
    (config_is(auto_map={"AutoModelForCausalLM": "modeling_own.Own"}), "auto_map"),
    (config_is(quantization_config={"quant_method": "fp8"}), "quantization_config"),
    (tensors_are(norm=None), "lacks the tensor 'model.norm.weight'"),
    (tensors_are(norm=np.ones((9,), np.float32)), r"shape \(9,\), the base has \(8,\)"),
    (tensors_are(norm=np.full((8,), np.nan, np.float32)), "NaN or infinity in 'model.norm.weight'"),
    (tensors_are(norm=np.full((8,), np.inf, np.float16)), "NaN or infinity"),
    (tensors_are(norm=np.ones((8,), np.int8)), "as I8"),
    (additional, "holds the tensor 'lm_head.weight'"),
    (wrong_index, "does not list just the tensors"),
]


@pytest.mark.parametrize(("spoil", "fault"), FAULTS)
def test_an_unfit_model_is_refused_saying_why(
    folder: Path, base: Path, spoil: Callable[[Path], None], fault: str
) -> None:
    spoil(folder)
    given = replace(full_ref(write_model(folder.parent / "sound")), path=folder)
    with pytest.raises(InvalidWeightsError, match=fault) as refused:
        validate_full(given, base=base)
    assert "algebra@4" in refused.value.detail
    assert str(folder) not in refused.value.detail


def test_files_that_changed_after_the_registration_are_refused(folder: Path, base: Path) -> None:
    registered = full_ref(folder)
    write_model(folder, seed=2)
    with pytest.raises(InvalidWeightsError, match="changed after they were registered"):
        validate_full(registered, base=base)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, folder: Path, base: Path) -> None:
    with pytest.raises(InvalidWeightsError, match="no folder"):
        validate_full(replace(full_ref(folder), path=tmp_path / "nowhere"), base=base)


def test_the_hash_covers_config_index_and_every_file_of_weights(folder: Path) -> None:
    seen = {weights_sha256(folder)}
    (folder / "tokenizer.json").write_text("{}")
    assert weights_sha256(folder) in seen
    sharded(folder)
    for change in ("config.json", WEIGHTS_INDEX, "model-1.safetensors", "model-2.safetensors"):
        with (folder / change).open("ab") as handle:
            handle.write(b" ")
        seen.add(weights_sha256(folder))
    assert len(seen) == 5
