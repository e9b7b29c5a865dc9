"""Write docs/cli.md from the command's own help: `python -m tests.support.cli_page`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from rlt_client.cli.app import command
from rlt_client.cli.exit_codes import ExitCode

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

HEAD = """# The command line

`rlt` does for people and scripts what the SDK does for programs. This page is made by
`python -m tests.support.cli_page` from what `rlt COMMAND --help` says.

The server is the one of `--base-url`, else `RLT_BASE_URL`, else the one that `rlt up` runs on this machine. Where it
asks for a key, that of `RLT_API_KEY` is sent. Both options may stand anywhere in a call. `rlt doctor` shows what holds.

## In scripts

- With `--json` a call prints one JSON document on stdout: the object as the server gave it, a list as
  `{"object": "list", "data": […]}`. What comes in parts is a line of JSON each: the events of `rlt explain --stream`,
  the lines of `rlt jobs logs`. `rlt jobs watch` and `rlt train … --watch` print the job, once it has ended.
- An error is one line of JSON on stderr then: `{"error": {"code", "message", "exit_code", …}}`, with `status`, `param`
  and `request_id` where a server answered, `retryable`, and `lines` with the bad lines of an upload.
- In a pipe tables are rows of cells between tabs, their head first, whole and without colours; bars are left out.
  `NO_COLOR` takes the colours from a terminal too; `FORCE_COLOR` keeps them in a pipe.
- Ctrl-C while a job is watched stops watching, not the job.

| exit code | meaning |
| --- | --- |
"""

COMPLETION = """
## At the tab key

`rlt --install-completion` sets up the shell that it runs in (bash, zsh, fish, PowerShell); `rlt --show-completion`
prints what it would add. Commands, options and choices are offered, and where a server answers within a second, the
ids of jobs and datasets and the names of versions.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One option or argument."""

    names: tuple[str, ...]
    shown_type: str
    words: str
    required: bool
    panel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of the tree."""

    path: str
    usage: str
    words: str
    is_group: bool
    rows: tuple[Row, ...]

    @property
    def flags(self) -> set[str]:
        """Give the names of its options."""
        return {name for row in self.rows for name in row.names}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Give the page as it should be."""
    codes = "".join(f"| {code.value} | {code.meaning} |\n" for code in ExitCode)
    return HEAD + codes + COMPLETION + "".join(_section(one) for one in commands())


def commands() -> list[Command]:
    """Walk the tree of commands, each group before what is in it."""
    return list(_walk(command(), name="rlt", above=None))


def _walk(found: Any, *, name: str, above: typer.Context | None) -> Iterator[Command]:
    context = typer.Context(found, info_name=name, parent=above)
    inside: dict[str, Any] = getattr(found, "commands", {})
    yield Command(
        path=context.command_path,
        usage=" ".join(found.get_usage(context).removeprefix("Usage:").split()),
        words=found.help or "",
        is_group=bool(inside),
        rows=tuple(_row(one, context) for one in found.params if not getattr(one, "hidden", False)),
    )
    for below, one in inside.items():
        yield from _walk(one, name=below, above=context)


def _row(one: Any, context: typer.Context) -> Row:
    is_option = one.param_type_name == "option"
    flag = bool(getattr(one, "is_flag", False))
    return Row(
        names=(*one.opts, *one.secondary_opts) if is_option else (one.metavar or one.name.upper(),),
        shown_type="" if flag or not is_option else one.metavar or one.display_type(context),
        words=" ".join((one.help or "").split()),
        required=bool(one.required),
        panel=one.rich_help_panel or "",
    )


def _section(one: Command) -> str:
    level = "##" if one.path.count(" ") < 2 else "###"
    said = f"\n{level} {one.path}\n\n{one.words.strip()}\n\n```text\n{one.usage}\n```\n"
    panels = dict.fromkeys(row.panel for row in one.rows)
    for panel in panels:
        rows = [row for row in one.rows if row.panel == panel]
        said += f"\n{_table(rows, head=panel.split(':')[0] if panel else 'option')}"
    return said


def _table(rows: Iterable[Row], *, head: str) -> str:
    lines = [f"| {head} | value | meaning |", "| --- | --- | --- |"]
    for row in rows:
        names = ", ".join(f"`{name}`" for name in row.names)
        shown = f"`{row.shown_type.strip('<>')}`".replace("|", "\\|") if row.shown_type else ""
        required = " *Required.*" if row.required else ""
        lines.append(f"| {names} | {shown} | {row.words.replace('|', chr(92) + '|')}{required} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
