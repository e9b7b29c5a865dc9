"""Own where libraries keep what they compute once: under the state folder, like everything else that is written."""

import os
from pathlib import Path

_PLACES = {
    "VLLM_CACHE_ROOT": "vllm",
    "VLLM_CONFIG_ROOT": "vllm-config",
    "HF_HOME": "huggingface",
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    "TRITON_CACHE_DIR": "triton",
}


def cache_environment(home: Path) -> dict[str, str]:
    """Name the variables that send caches into `home`; one that the user has set stays out of it."""
    return {name: str(home / "cache" / place) for name, place in _PLACES.items() if name not in os.environ}
