"""Every Python snippet of docs/sdk.md runs, in the order of the page, against a FakeServer."""

from typing import Any

import pytest

from rlt_client import FakeServer
from rlt_client.integrations import verl
from tests.docs.snippets import ROOT, snippets_of

PAGE = ROOT / "docs" / "sdk.md"


def test_every_snippet_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "sdk"}
    verl._judge.cache_clear()
    with FakeServer() as server:
        monkeypatch.setenv("RLT_BASE_URL", server.base_url)
        monkeypatch.delenv("RLT_API_KEY", raising=False)
        for snippet in snippets_of(PAGE):
            assert (snippet.language, snippet.why_not_run) == ("python", None)
            code = compile("\n" * (snippet.line - 1) + snippet.text, str(PAGE), "exec")
            exec(code, names)
        names["client"].close()
        verl._judge("default").client.close()
    verl._judge.cache_clear()
    out = capsys.readouterr().out
    assert "[20]" in out
    assert "404 not_found" in out or "404 job_not_found" in out
    assert "cancelled" in out
