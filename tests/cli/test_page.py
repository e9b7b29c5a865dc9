"""docs/cli.md follows from the help."""

from tests.support.cli_page import PAGE, page


def test_the_page_of_the_command_line_follows_from_its_help() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.support.cli_page`"
