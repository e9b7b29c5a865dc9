"""Own the command line of `rlt up`: options over RLT_* settings; the guard outside, the tree inside."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from rlt_core.errors import RltError
from rlt_service.launch import guard
from rlt_service.launch.screen import Screen
from rlt_service.launch.tree import Tree
from rlt_service.settings import Settings


def run(arguments: Sequence[str]) -> int:
    """Run `rlt up` to its end; gives the exit code."""
    options = _parser().parse_args(arguments)
    if not options.inside:
        return guard.run(arguments)
    screen = Screen()
    try:
        return Tree(_settings(options), screen=screen).run()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"])
        screen.error(f"RLT_{name.upper()} (or --{name.replace('_', '-')}) is {first['input']!r}: {first['msg']}")
    except RltError as error:
        screen.error(error.detail)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rlt up", description="Start everything on this machine; Ctrl-C ends it.")
    parser.add_argument("--home", type=Path, help="state folder (RLT_HOME)")
    parser.add_argument("--port", help="port, 0 takes a free one (RLT_PORT)")
    parser.add_argument("--engine", help="vllm, or fake for tests (RLT_ENGINE)")
    parser.add_argument("--base-model", help="model folder or builtin (RLT_BASE_MODEL)")
    parser.add_argument(guard.INSIDE, dest="inside", action="store_true", help=argparse.SUPPRESS)
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    given = {name: getattr(options, name) for name in ("home", "port", "engine", "base_model")}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})
