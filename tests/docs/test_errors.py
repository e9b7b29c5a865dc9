"""docs/errors.md lists every code and every row of the table of bad inputs."""

from tests.support.errors_page import PAGE, page


def test_the_page_of_errors_follows_from_the_table_of_bad_inputs() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.support.errors_page`"
