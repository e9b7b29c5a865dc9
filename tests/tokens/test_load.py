"""From a folder or a tokenizer in memory to a codec; what importing the package brings along."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rlt_tokens
from rlt_core.errors import ConfigurationError, NotFoundError
from rlt_core.formats import ExplanationPiece
from rlt_tokens import TokenizerCodec, byte_codec, codec_from_tokenizer, load_codec, save_byte_tokenizer
from rlt_tokens.byte_tokenizer import CHAT_TEMPLATE, LAYOUT, SPECIAL_TOKENS
from rlt_tokens.chat_template import read_layout

HOSTILE = "1 < 2.<|im_end|> \u6f22\U0001f600 .<"


def facts(codec: TokenizerCodec) -> tuple[object, ...]:
    piece = ExplanationPiece(text=HOSTILE)
    return (
        codec.format_id,
        codec.fingerprint,
        codec.vocab_size,
        codec.end_token_ids,
        codec.control_token_ids,
        codec.student_sequence(question=HOSTILE, solution=HOSTILE, explanation=piece),
        codec.teacher_sequence(question=HOSTILE, solution=HOSTILE),
    )


def test_the_public_names_are_these() -> None:
    assert rlt_tokens.__all__ == [
        "TokenizerCodec",
        "byte_codec",
        "codec_from_tokenizer",
        "load_codec",
        "save_byte_tokenizer",
    ]


def test_neither_the_package_nor_the_byte_codec_brings_torch_or_transformers_along() -> None:
    program = (
        "import sys; import rlt_tokens; rlt_tokens.byte_codec(); heavy = {'torch', 'vllm', 'trl', 'transformers'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_byte_tokenizer_s_layout_is_what_its_template_renders() -> None:
    assert read_layout(CHAT_TEMPLATE, special_tokens=SPECIAL_TOKENS) == LAYOUT


def test_the_saved_byte_tokenizer_loads_as_the_codec_made_in_code(byte_folder: Path, codec: TokenizerCodec) -> None:
    assert facts(load_codec(byte_folder)) == facts(codec)


def test_a_tokenizer_in_memory_makes_the_same_codec(byte_folder: Path, codec: TokenizerCodec) -> None:
    from transformers import AutoTokenizer

    assert facts(codec_from_tokenizer(AutoTokenizer.from_pretrained(str(byte_folder)))) == facts(codec)


def test_the_byte_tokenizer_has_every_byte_and_the_ids_that_fakes_rely_on(codec: TokenizerCodec) -> None:
    assert codec.control_token_ids == {0, 1, 2}
    assert codec.end_token_ids == {2}
    assert codec.encode_text("\x00") == [3 + 0]
    assert codec.encode_text("A") == [3 + 65]


def test_a_fingerprint_names_what_makes_ids_of_texts_and_nothing_else(codec: TokenizerCodec, handmade: Any) -> None:
    assert re.fullmatch(r"sha256:[0-9a-f]{16}", codec.fingerprint)
    # Format, template and end tokens stand around the ids of a text.
    handmade.chat_template = "{{ messages[0].content }} // {{ messages[1].content }}<|im_end|>"
    handmade.end_token_ids = frozenset({0, 2})
    assert handmade.build(format_id="r1@1").fingerprint == codec.fingerprint
    # Merges make other ids of the same text; a token that only templates write is one that callers must not send.
    assert byte_codec(merges=()).fingerprint != codec.fingerprint
    handmade.add_token("</think>", special=False)
    assert handmade.build().fingerprint != codec.fingerprint


def test_pieces_are_the_bytes_of_each_token(codec: TokenizerCodec) -> None:
    ids = codec.encode_text("the \u00e9.")
    assert codec.token_pieces(ids) == [b"the", b" ", b"\xc3", b"\xa9", b"."]
    assert codec.token_pieces([]) == []


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_end_tokens_of_the_models_configuration_are_added(tmp_path: Path, name: str) -> None:
    save_byte_tokenizer(tmp_path)
    (tmp_path / name).write_text(json.dumps({"model_type": "llama", "eos_token_id": [2, 0]}))
    assert load_codec(tmp_path).end_token_ids == {0, 2}


def test_a_configuration_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    save_byte_tokenizer(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "two"}')
    with pytest.raises(ConfigurationError, match=r"generation_config\.json cannot be read for its eos_token_id"):
        load_codec(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no model folder at .*nowhere"):
        load_codec(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [None, "{", '{"version": "1.0"}'])
def test_a_folder_without_a_whole_tokenizer_is_refused(tmp_path: Path, content: str | None) -> None:
    save_byte_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_codec(tmp_path)


def test_a_folder_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    save_byte_tokenizer(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["chat_template"]
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="no chat template"):
        load_codec(tmp_path)


def test_of_several_templates_the_default_one_is_read(tmp_path: Path, codec: TokenizerCodec) -> None:
    save_byte_tokenizer(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    templates = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": config["chat_template"]}]
    path.write_text(json.dumps(config | {"chat_template": templates}))
    assert facts(load_codec(tmp_path)) == facts(codec)


def test_an_unknown_format_is_refused(byte_folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no format 'stratos@9'"):
        load_codec(byte_folder, format_id="stratos@9")


def test_a_tokenizer_written_in_python_is_refused() -> None:
    from transformers import ByT5Tokenizer

    with pytest.raises(ConfigurationError, match=r"ByT5Tokenizer has no fast tokenizer \(tokenizer\.json\)"):
        codec_from_tokenizer(ByT5Tokenizer())
