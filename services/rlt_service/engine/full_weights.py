"""Check a fully trained model's files before an engine loads them: the base's shape, finite, no code, the hash."""

# The types of transformers are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import json
from pathlib import Path
from typing import Any

from rlt_core.artifacts import MODEL_CONFIG, WEIGHTS_INDEX, WEIGHTS_SUFFIX, as_told, weights_files, weights_sha256
from rlt_core.errors import InvalidWeightsError
from rlt_service.engine.protocol import FullRef
from rlt_service.engine.weight_files import UnfitError, check_finite, check_folder, read_header, read_json

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
# What a training run may write otherwise without a change of the model; where a text ends is the base's to say.
_FREE_SETTINGS = frozenset(
    {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
    | {"bos_token_id", "eos_token_id", "pad_token_id"}
)
_SAVE_AGAIN = "Save it with save_pretrained (safetensors)."


def validate_full(weights: FullRef, *, base: Path | None) -> None:
    """Read the files whole and compare them with the base's folder; None is a base without files (the fake one).

    Raises InvalidWeightsError that says what to do, for anything unfit.
    """
    try:
        check_folder(weights.path, needs=(MODEL_CONFIG,), remedy=_SAVE_AGAIN)
        files = [weights.path / name for name in weights_files(weights.path) if name.endswith(WEIGHTS_SUFFIX)]
        config = read_json(weights.path / MODEL_CONFIG)
        tensors = _tensors(files)
        _check_index(weights.path, tensors)
        if base is not None:
            _check_config(config, weights.path, base=base)
            _check_shapes(tensors, _tensors(sorted(base.glob(f"*{WEIGHTS_SUFFIX}"))))
            _check_tokenizer(weights.path, base=base)
        for path in files:
            check_finite(path)
        digest = weights_sha256(weights.path)
    except OSError as error:
        raise _unfit(weights, f"cannot be read: {error}", remedy="Publish it again.") from error
    except UnfitError as fault:
        raise _unfit(weights, fault.what, remedy=fault.remedy) from fault
    if digest != weights.sha256:
        raise _unfit(
            weights,
            f"has sha256 {digest}, the registry says {weights.sha256}",
            remedy="Its files changed after they were registered: publish them as a new version.",
        )


def _unfit(weights: FullRef, what: str, *, remedy: str) -> InvalidWeightsError:
    said = f"The model {weights.version} at {weights.path} {what}. {remedy}"
    return InvalidWeightsError(as_told(said, weights.path))


def _tensors(files: list[Path]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Give shape and file of each tensor."""
    if not files:
        raise UnfitError("holds no *.safetensors", _SAVE_AGAIN)
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for path in files:
        for name, entry in read_header(path).items():
            if name in found:
                raise UnfitError(f"holds {name!r} twice, in {found[name][1]} and {path.name}", _SAVE_AGAIN)
            found[name] = (tuple(entry["shape"]), path.name)
    return found


def _check_index(folder: Path, tensors: dict[str, tuple[tuple[int, ...], str]]) -> None:
    """Hold an index, where there is one, to what is there: an engine reads only what it lists."""
    if not (folder / WEIGHTS_INDEX).exists():
        return
    if read_json(folder / WEIGHTS_INDEX).get("weight_map") != {name: file for name, (_, file) in tensors.items()}:
        raise UnfitError(f"has a {WEIGHTS_INDEX} that does not list just the tensors that are there", _SAVE_AGAIN)


def _check_config(config: dict[str, Any], folder: Path, *, base: Path) -> None:
    if "auto_map" in config:
        raise UnfitError(f"names code of its own (auto_map in {MODEL_CONFIG})", "Train a model of the base's class.")
    ours, theirs = _settings(folder), _settings(base)
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            raise UnfitError(
                f"has {key} = {ours.get(key)!r} in {MODEL_CONFIG}, the base has {theirs.get(key)!r}",
                "Train it on this base, without a change of its shape.",
            )


def _settings(folder: Path) -> dict[str, Any]:
    """Read a config.json with every default filled in, as transformers understands it, without what is free."""
    # Here, because it takes seconds and only an engine's process needs it.
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a foreign file makes of the library: it cannot be served
        raise UnfitError(f"has a {MODEL_CONFIG} that cannot be read ({error})", _SAVE_AGAIN) from error
    settings: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in settings.items() if key not in _FREE_SETTINGS}


def _check_shapes(
    tensors: dict[str, tuple[tuple[int, ...], str]], base: dict[str, tuple[tuple[int, ...], str]]
) -> None:
    for name in sorted(tensors.keys() ^ base.keys()):
        has = "holds the tensor" if name in tensors else "lacks the tensor"
        raise UnfitError(f"{has} {name!r}, other than the base", "Save the whole model, of the base's class.")
    for name, (shape, _) in tensors.items():
        if shape != base[name][0]:
            raise UnfitError(f"holds {name!r} of shape {shape}, the base has {base[name][0]}", "Train it on this base.")


def _check_tokenizer(folder: Path, *, base: Path) -> None:
    """Refuse a tokenizer beside the weights that is not the base's: that one is used, whatever lies here."""
    for name in TOKENIZER_FILES:
        path, own = folder / name, base / name
        if path.exists() and not (own.exists() and _same(path, own)):
            raise UnfitError(
                f"holds a {name} other than the base's", "Leave it out: a version speaks with its base's tokenizer."
            )


def _same(left: Path, right: Path) -> bool:
    if left.suffix == ".json":
        return read_json(left) == read_json(right)
    return left.read_bytes() == right.read_bytes()
