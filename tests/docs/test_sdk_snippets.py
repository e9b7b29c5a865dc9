"""Every Python snippet of docs/sdk.md runs, in the order of the page, against a FakeServer."""

import re
from pathlib import Path
from typing import Any

import pytest

from rlt_client import FakeServer
from rlt_client.integrations import verl

PAGE = Path(__file__).parents[2] / "docs" / "sdk.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_snippet_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "sdk"}
    verl._judge.cache_clear()
    with FakeServer() as server:
        monkeypatch.setenv("RLT_BASE_URL", server.base_url)
        monkeypatch.delenv("RLT_API_KEY", raising=False)
        for found in SNIPPET.finditer(text):
            line = text[: found.start()].count("\n") + 1
            code = compile("\n" * line + found[1], str(PAGE), "exec")
            exec(code, names)
        names["client"].close()
        verl._judge("default").client.close()
    verl._judge.cache_clear()
    out = capsys.readouterr().out
    assert "[20]" in out
    assert "404 not_found" in out or "404 job_not_found" in out
    assert "cancelled" in out
