"""Own the random states that training draws from: taken, set again, and told apart by their hashes."""

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any

import numpy
import torch

GENERATORS = ("torch_rng", "python_rng", "numpy_rng", "cuda_rng")
"""Names of the states; the last one only where there is a GPU."""


def random_states() -> dict[str, Any]:
    """Give the states of all generators that training may draw from, as plain types and tensors."""
    states: dict[str, Any] = {
        "torch_rng": torch.get_rng_state(),
        "python_rng": random.getstate(),
        "numpy_rng": _numpy_state(),
    }
    if torch.cuda.is_available():
        states["cuda_rng"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Set all generators as they were."""
    torch.set_rng_state(states["torch_rng"])
    random.setstate(states["python_rng"])
    numpy_state = states["numpy_rng"]
    inner = dict(numpy_state["state"])
    inner["key"] = inner["key"].numpy().astype("uint32")
    numpy.random.set_state(numpy_state | {"state": inner})
    if "cuda_rng" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda_rng"][: torch.cuda.device_count()])


def random_sha256(states: Mapping[str, Any]) -> dict[str, str]:
    """Hash each generator's state by its name; other entries are left out."""
    return {
        name: hashlib.sha256(json.dumps(states[name], default=torch.Tensor.tolist).encode()).hexdigest()
        for name in GENERATORS
        if name in states
    }


def _numpy_state() -> dict[str, Any]:
    # As plain types and tensors, so that it can be read with weights_only=True.
    state = dict(numpy.random.get_state(legacy=False))
    inner = dict(state["state"])
    inner["key"] = torch.from_numpy(inner["key"].astype("int64"))
    return state | {"state": inner}
