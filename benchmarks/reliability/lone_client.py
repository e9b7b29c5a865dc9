"""Own a client with one connection of its own: many of them are a crowd.

One httpx client with hundreds of connections goes through all of them, for each of them, at each call: 160 that ask in
turn come to some 50 calls a second, whatever the server does.
"""

import ssl
from functools import cache

import httpx


def lone_client(address: str, *, timeout_s: float) -> httpx.AsyncClient:
    """Make a client of its own for one at a time."""
    return httpx.AsyncClient(
        base_url=address,
        timeout=timeout_s,
        limits=httpx.Limits(max_connections=1),
        verify=_certificates(),
        trust_env=False,
    )


@cache
def _certificates() -> ssl.SSLContext:
    """Load them once; loopback needs none, and each client would load its own."""
    return ssl.create_default_context()
