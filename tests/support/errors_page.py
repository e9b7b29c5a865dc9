"""Write docs/errors.md from the codes and from the table of bad inputs: `python -m tests.support.errors_page`."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rlt_core import errors
from rlt_core.errors import RltError
from rlt_service.problems import MethodNotAllowedError
from tests.service.bad_inputs import GROUPS
from tests.support.bad_input import BadInput

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"

HEAD = """# Errors

Whatever is refused is answered with `application/problem+json`: `status` and `title`; `detail`, a sentence that says
what was wrong, the value that was seen and what to do; `code`, which is stable; `param`, a JSON pointer to the field at
fault (or the name of the parameter or header); `request_id`, which the log has too; `retryable`. `error` says the same
as OpenAI's clients read it. Where several things are wrong, `errors` lists them.

Values are of the JSON types that `/openapi.json` says and are never converted: `"2"` is no number, `0` no boolean,
`2.0` no integer. Which of these answers a call can give stands there too, and `make fuzz` holds every call against it.

This page is made by `python -m tests.support.errors_page`, from the errors of `rlt_core/errors.py` and from the rows
that `tests/service/test_bad_inputs.py` sends.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Give the page as it should be."""
    parts = [HEAD, "## Codes\n", _table(("code", "status", "try again", "meaning"), _codes())]
    for title, rows in GROUPS.items():
        parts += [f"\n## {title}\n", _table(("input", "call", "answer", "`param`", "`detail` says"), map(_cells, rows))]
    return "\n".join(parts) + "\n"


def _codes() -> Iterator[tuple[str, ...]]:
    found = [*(one for one in vars(errors).values() if isinstance(one, type)), MethodNotAllowedError]
    own = [one for one in found if issubclass(one, RltError) and one not in (RltError, errors.ConfigurationError)]
    for one in sorted(own, key=lambda one: (one.status, one.code)):
        meaning = " ".join((one.__doc__ or "").split("\n\n")[0].split())
        yield f"`{one.code}`", str(one.status), "yes" if one.retryable else "", meaning


def _cells(row: BadInput) -> tuple[str, ...]:
    param = "" if row.param is None else f"`{row.param[:40] or '(the whole body)'}`"
    call = re.sub(r"\$[a-z_]+|(job|ds|eval)_0{20}|f{64}", "{…}", row.operation)
    return row.name, f"`{call}`", f"{row.status} `{row.code}`", param, f"… {_escaped(row.why)} …"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    main()
