"""Who may open a page or a socket of the dashboard, without a browser and without its framework."""

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from rlt_core.errors import ConfigurationError, UnauthenticatedError
from rlt_service.dashboard.guard import Guarded
from rlt_service.dashboard.mounting import PagesRoute, add_dashboard
from rlt_service.host_names import KnownHosts
from rlt_service.settings import Settings


class Keys:
    """An authenticator that knows one key."""

    async def key_of(self, headers: Headers) -> None:
        if headers.get("authorization") != "Bearer rlt_right":
            raise UnauthenticatedError("no")


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def answer_of(app: Any, path: str, *, type_: str = "http", method: str = "GET", **headers: str) -> Message:
    """Call an app, and give the first thing that it sends."""
    sent: list[Message] = []
    said = {"host": "box:8400", **{name.replace("_", "-"): value for name, value in headers.items()}}

    async def receive() -> Message:
        return {"type": f"{type_}.connect" if type_ == "websocket" else "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": type_, "path": path, "query_string": b"a=1", "method": method, "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in said.items()],
        "state": {"request_id": "req_1"},
        "app": SimpleNamespace(state=SimpleNamespace(services=SimpleNamespace(authenticator=Keys()))),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]


RIGHT = {"cookie": "rlt_key=rlt_right"}


async def test_a_page_without_a_key_leads_to_where_one_signs_in_and_back() -> None:
    found = await answer_of(Guarded(page), "/jobs")
    assert found["status"] == 303
    assert dict(found["headers"])[b"location"] == b"/sign-in?next=%2Fjobs%3Fa%3D1"
    assert (await answer_of(Guarded(page), "/jobs", cookie="rlt_key=rlt_wrong"))["status"] == 303
    assert (await answer_of(Guarded(page), "/jobs", **RIGHT))["status"] == 200


async def test_every_answer_says_that_nothing_comes_from_elsewhere_and_nobody_frames_it() -> None:
    headers = dict((await answer_of(Guarded(page), "/jobs", **RIGHT))["headers"])
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]


@pytest.mark.parametrize(
    ("headers", "opened"),
    [
        (RIGHT, True),
        ({}, False),
        (RIGHT | {"origin": "http://box:8400"}, True),
        (RIGHT | {"origin": "http://elsewhere.example"}, False),
        (RIGHT | {"sec-fetch-site": "cross-site"}, False),
    ],
)
async def test_a_socket_opens_for_an_own_page_with_a_key(headers: dict[str, str], *, opened: bool) -> None:
    found = await answer_of(Guarded(page), "/_nicegui_ws/socket.io/", type_="websocket", **headers)
    assert found["type"] == ("websocket.accept" if opened else "websocket.close")


async def test_uploads_need_a_key_and_scripts_do_not() -> None:
    upload = "/_nicegui/client/c/upload/1"
    assert (await answer_of(Guarded(page), upload, method="POST"))["status"] == 403
    assert (await answer_of(Guarded(page), upload, method="POST", **RIGHT))["status"] == 200
    assert (await answer_of(Guarded(page), "/_nicegui/3/static/x.js"))["status"] == 200


async def test_a_socket_that_names_a_foreign_host_is_closed() -> None:
    known = KnownHosts(page, allowed=["localhost"])
    assert (await answer_of(known, "/", type_="websocket", host="elsewhere.example"))["type"] == "websocket.close"
    assert (await answer_of(known, "/", type_="websocket", host="localhost:8400"))["type"] == "websocket.accept"


@pytest.mark.parametrize(
    ("path", "method", "ours"),
    [
        ("/", "GET", True),
        ("/jobs/job_1", "GET", True),
        ("/_nicegui/client/c/upload/1", "POST", True),
        ("/jobs", "POST", False),
        ("/v1/jobs", "GET", False),
        ("/score", "POST", False),
        ("/jobsx", "GET", False),
    ],
)
def test_the_dashboard_takes_its_own_paths_alone(path: str, method: str, *, ours: bool) -> None:
    matched, _ = PagesRoute(page).matches({"type": "http", "path": path, "method": method})
    assert (matched.name == "FULL") is ours


def test_every_page_that_the_navigation_names_is_served() -> None:
    pytest.importorskip("nicegui")
    from rlt_service.dashboard.frame import NAVIGATION

    for address, _ in NAVIGATION:
        matched, _ = PagesRoute(page).matches({"type": "http", "path": address, "method": "GET"})
        assert matched.name == "FULL", address


def test_a_dashboard_that_is_wanted_and_cannot_be_says_why() -> None:
    with pytest.raises(ConfigurationError, match="RLT_ROLES"):
        add_dashboard(SimpleNamespace(), Settings(dashboard="on", roles=("teacher",)))  # pyright: ignore[reportArgumentType] - nothing of it is used
