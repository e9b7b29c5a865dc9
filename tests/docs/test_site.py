"""The site builds strictly and by itself; its generated pages follow from the code, and every code has an entry."""

import html
import re
import subprocess
import sys
from pathlib import Path

from rlt_client import Client
from tests.support import errors_page, operations_page, settings_page
from tests.support.service import make_app

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"^\| `([a-z_]+)` \|", re.MULTILINE)


def codes_in(text: str) -> set[str]:
    return set(CODE.findall(text))


def test_the_page_of_settings_follows_from_the_settings() -> None:
    found = settings_page.PAGE.read_text(encoding="utf-8")
    assert found == settings_page.page(), "run `python -m tests.support.settings_page`"


def test_every_setting_says_what_it_means() -> None:
    assert [line for line in settings_page.page().splitlines() if line.endswith("|  |")] == []


def test_every_code_has_an_entry_and_every_entry_is_a_code() -> None:
    codes = codes_in(errors_page.page().partition("## Codes")[2].partition("\n## ")[0])
    assert len(codes) >= 30
    assert codes_in((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")) == codes


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    loaded = re.compile(r"""<(?:script|link|img)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^"' >]+""")
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        assert loaded.findall(page.read_text(encoding="utf-8")) == [], page.name
    assert (tmp_path / "search" / "search_index.json").is_file()
    reference = re.sub(r"<[^>]+>", "", (tmp_path / "reference" / "sdk.html").read_text(encoding="utf-8"))
    shown = html.unescape(reference)
    assert "get(job_id: str) -> Job\n" in shown
    assert "Call[" not in shown, "signatures are to say what a call gives (.ci/sdk_signatures.py)"


def test_the_page_of_operations_follows_from_the_openapi_document(tmp_path: Path) -> None:
    found = operations_page.PAGE.read_text(encoding="utf-8")
    assert found == operations_page.page(make_app(tmp_path).openapi()), "run `python -m tests.support.operations_page`"


def test_the_page_of_the_sdk_has_every_resource_of_a_client() -> None:
    page = (ROOT / "docs" / "reference" / "sdk.md").read_text(encoding="utf-8")
    with Client("http://rlt.test") as client:
        kinds = {type(value) for name, value in vars(client).items() if not name.startswith("_")}
    assert len(kinds) >= 10
    assert [kind.__name__ for kind in kinds if f"::: {kind.__module__}.{kind.__qualname__}\n" not in page] == []


def test_every_picture_says_what_it_shows_and_every_page_with_one_too() -> None:
    pictures = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
    texts = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md")]
    assert pictures
    for picture in pictures:
        text = picture.read_text(encoding="utf-8")
        assert all(part in text for part in ("<title", "<desc", 'role="img"')), picture.name
        assert any(f"/{picture.name})" in page for page in texts), f"{picture.name} is on no page"
    assert [text[:60] for text in texts if "![](" in text] == []
