"""Ask the server whether it is ready, and what it is still waiting for."""

import httpx
from pydantic import ValidationError

from rlt_core.schemas.server import Readiness

TIMEOUT_S = 2.0


def ask(address: str) -> Readiness | None:
    """Read /readyz; None while nothing answers there."""
    try:
        # A proxy of the environment has no business between two processes of one machine.
        response = httpx.get(f"{address}/readyz", timeout=TIMEOUT_S, trust_env=False)
        return Readiness.model_validate_json(response.content)
    except (httpx.TransportError, ValidationError):
        return None


def missing(readiness: Readiness | None) -> str:
    """Say what is not there yet; empty when nothing answers."""
    if readiness is None:
        return ""
    return "; ".join(f"{name}: {check.detail or 'not yet'}" for name, check in readiness.checks.items() if not check.ok)
