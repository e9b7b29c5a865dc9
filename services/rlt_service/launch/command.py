"""Own the command line of `rlt up`: options over RLT_* settings; the guard outside, the tree inside."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rlt_service.launch import guard


def run(arguments: Sequence[str]) -> int:
    """Run `rlt up` to its end; gives the exit code."""
    options = _parser().parse_args(arguments)
    if not options.inside:
        return guard.run(arguments)
    # Not at the top: the guard needs none of it, and stays small for as long as the server lives.
    from rlt_service.launch import inside

    return inside.run(**{name: getattr(options, name) for name in ("home", "port", "engine", "base_model")})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlt up", description="Start everything on this machine; Ctrl-C ends it.")
    parser.add_argument("--home", type=Path, help="state folder (RLT_HOME)")
    parser.add_argument("--port", help="port, 0 takes a free one (RLT_PORT)")
    parser.add_argument("--engine", help="vllm, or fake for tests (RLT_ENGINE)")
    parser.add_argument("--base-model", help="model folder or builtin (RLT_BASE_MODEL)")
    parser.add_argument(guard.INSIDE, dest="inside", action="store_true", help=argparse.SUPPRESS)
    return parser
