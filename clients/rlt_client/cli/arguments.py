"""Own where the root's options may stand: anywhere before `--`, as `gh` and `uv` take theirs; pure."""

from collections.abc import Sequence

ROOT_OPTIONS = ("--base-url", "--api-key")


def hoisted(arguments: Sequence[str]) -> list[str]:
    """Move the root's options, with their values, before everything else."""
    front, rest = list[str](), list[str]()
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            return [*front, *rest, argument, *left]
        name, equals, _ = argument.partition("=")
        if name not in ROOT_OPTIONS:
            rest.append(argument)
        else:
            front += [argument] if equals else [argument, *([value] if (value := next(left, None)) is not None else [])]
    return front + rest


def wants_json(arguments: Sequence[str]) -> bool:
    """Say whether --json was given, also where the rest of the call could not be read."""
    read = list(arguments)
    return "--json" in (read[: read.index("--")] if "--" in read else read)
