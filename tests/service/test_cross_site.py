"""Calls that a foreign page sends through a visitor's browser change nothing."""

import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from rlt_service.cross_site import is_foreign
from tests.support.control import check_problem

ROW = '{"question": "q", "solution": "s"}\n'
TEXT = {"Content-Type": "text/plain"}  # what a page may send without asking for leave


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
def test_an_upload_from_a_foreign_page_is_refused(app_client: TestClient, headers: dict[str, str]) -> None:
    before = len(app_client.get("/v1/datasets").json()["data"])
    check_problem(app_client.post("/v1/datasets", content=ROW, headers=TEXT | headers), 403, "forbidden")
    assert len(app_client.get("/v1/datasets", headers=headers).json()["data"]) == before


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://box:8400"}]
)
def test_programs_and_own_pages_are_let_through(headers: dict[str, str]) -> None:
    assert not is_foreign(Headers({"Host": "box:8400", **headers}))
