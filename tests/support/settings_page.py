"""Write docs/settings.md from the settings of the service: `python -m tests.support.settings_page`."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from rlt_service.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

HEAD = """# Settings

Every setting is an environment variable. Lists and objects are written as JSON. This page is made by
`python -m tests.support.settings_page`, from `services/rlt_service/settings.py`.

| variable | default | meaning |
| --- | --- | --- |
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Give the page as it should be."""
    return HEAD + "\n".join(_rows()) + "\n"


def _rows() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `RLT_{name.upper()}` | `{_shown(field.get_default(call_default_factory=True))}` | {meaning} |"


def _shown(value: object) -> str:
    if isinstance(value, Path):
        return str(value).replace(str(Path.home()), "~")
    if isinstance(value, BaseModel):
        return value.model_dump_json(exclude_defaults=True)
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    main()
