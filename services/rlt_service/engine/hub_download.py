"""Own the fetching of a base model from the Hugging Face hub: one commit, once, into the state folder.

In a process of its own: what imports vLLM here has told huggingface_hub to stay offline, for good (it reads
HF_HUB_OFFLINE at its import). Tokens, mirrors and proxies are the environment's (HF_TOKEN, HF_ENDPOINT, HTTPS_PROXY).
Only weights in safetensors and the tokenizer's files are taken, never code.
"""

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType] - its progress bar
from huggingface_hub.errors import HfHubHTTPError, IncompleteSnapshotError, LocalEntryNotFoundError

from rlt_core.errors import ConfigurationError
from rlt_core.hub_models import HUB_PREFIX, HubModel, parse_hub_model

LOGGER = logging.getLogger(__name__)
WANTED = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
LEFT_OUT = ("*/*", "consolidated*")
"""Folders and a second copy of the weights, which some repositories hold in other layouts."""

Snapshot = Callable[..., str]
"""`huggingface_hub.snapshot_download`."""


def fetched_model(
    model: HubModel,
    places: Path,
    *,
    snapshot: Snapshot = snapshot_download,
    fetch: Callable[[HubModel, Path], str | None] | None = None,
) -> Path:
    """Give the folder of a model's commit below `places`; what is there whole is not asked for again.

    `fetch` brings it and gives what went wrong. Raises ConfigurationError that says what to do.
    """
    present = _present(model, places, snapshot=snapshot)
    if present is not None:
        return present
    LOGGER.info("fetching %s at %s into %s, once", model.repository, model.commit, places)
    fault = (fetch or _fetch_apart)(model, places)
    present = None if fault else _present(model, places, snapshot=snapshot)
    if present is None:
        raise ConfigurationError(
            f"The base model {HUB_PREFIX}{model.repository}@{model.commit} is not here and could not be fetched: "
            f"{fault or 'it is not whole'}. Let this machine reach the hub once (HF_TOKEN for what is not public, "
            "HF_HUB_OFFLINE unset), or set RLT_BASE_MODEL to a local folder that holds it."
        )
    return present


def main(argv: Sequence[str], *, snapshot: Snapshot = snapshot_download) -> int:
    """Fetch `REFERENCE` into `FOLDER`; 1 after a line that says why not."""
    reference, folder = argv
    model = parse_hub_model(reference)
    try:
        _snapshot(model, Path(folder), snapshot=snapshot, local=False)
    except (HfHubHTTPError, OSError, ValueError) as error:
        said = " ".join(str(error).split())
        print(f"{type(error).__name__}: {said[:500]}", file=sys.stderr)  # noqa: T201 - read by `_fetch_apart`
        return 1
    return 0


def _present(model: HubModel, places: Path, *, snapshot: Snapshot) -> Path | None:
    try:
        return Path(_snapshot(model, places, snapshot=snapshot, local=True))
    except (LocalEntryNotFoundError, IncompleteSnapshotError):
        return None


def _snapshot(model: HubModel, places: Path, *, snapshot: Snapshot, local: bool) -> str:
    return snapshot(
        model.repository,
        revision=model.commit,
        cache_dir=places,
        allow_patterns=list(WANTED),
        ignore_patterns=list(LEFT_OUT),
        local_files_only=local,
    )


def _fetch_apart(model: HubModel, places: Path) -> str | None:
    command = [sys.executable, "-m", __name__, f"{HUB_PREFIX}{model.repository}@{model.commit}", str(places)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode == 0:
        return None
    said = ended.stderr.strip().splitlines()
    return said[-1] if said else f"exit code {ended.returncode}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
