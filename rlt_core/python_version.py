"""Own the sentence for a Python that is too old; it must itself be readable by any Python from 3.6 on."""

OLDEST_MINOR = 11


def complaint(major: int, minor: int) -> str:
    """Say what to do about this Python; empty where it is new enough."""
    if (major, minor) >= (3, OLDEST_MINOR):
        return ""
    return (
        f"RLT needs Python 3.{OLDEST_MINOR} or newer, this is {major}.{minor}: install a newer one and make the "
        f"virtual environment with it (python3.{OLDEST_MINOR} -m venv .venv)"
    )
