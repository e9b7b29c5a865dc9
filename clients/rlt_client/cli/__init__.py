"""The `rlt` command: what the SDK does, for people; `main` is its only public name."""

from rlt_client.cli.app import main

__all__ = ["main"]
