"""Own what an address to listen on means: whether others reach it, and how this machine does."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches what listens there; a name other than localhost may be anything."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_of(host: str, port: int) -> str:
    """Write the URL by which programs of this machine reach it: of all addresses, loopback."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
