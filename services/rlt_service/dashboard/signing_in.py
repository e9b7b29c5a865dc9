"""Own how a visitor signs in: a plain page that asks for a key, and the cookie that holds it."""

from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from rlt_service.dashboard.addresses import own_path
from rlt_service.dashboard.frame_files import style
from rlt_service.dashboard.guard import POLICY, is_known
from rlt_service.dashboard.markup import Markup, joined, tag
from rlt_service.dashboard.visits import KEY_COOKIE

MAX_FORM_BYTES: Final = 4096
MAX_AGE_S: Final = 30 * 24 * 3600


async def ask(request: Request) -> Response:
    """Ask for a key."""
    return _page(next_address=own_path(request.query_params.get("next", "/")))


async def sign_in(request: Request) -> Response:
    """Take a key, see that the server knows it, and lead on."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return _page(next_address="/", said="That is no key.", status=413)
    form = parse_qs(body.decode("utf-8", errors="replace"))
    key, next_address = form.get("key", [""])[0].strip(), own_path(form.get("next", ["/"])[0])
    if not key or not await is_known(request, key=key):
        said = "The server does not know this key, or it was revoked."
        return _page(next_address=next_address, said=said, status=401)
    answer = RedirectResponse(next_address, status_code=303)
    answer.set_cookie(
        KEY_COOKIE, key, max_age=MAX_AGE_S, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


async def sign_out(_request: Request) -> Response:
    """Forget the key."""
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(KEY_COOKIE, httponly=True, samesite="strict")
    return answer


ROUTES: Final = (
    Route("/sign-in", ask, methods=["GET"]),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
)


def _page(*, next_address: str, said: str = "", status: int = 200) -> Response:
    problem = tag("p", said, class_="notice bad", role="alert") if said else None
    form = tag(
        "form",
        tag("h1", "Sign in"),
        tag("p", "This server needs a key: ask its operator, or make one with rlt keys create.", class_="muted"),
        problem,
        tag("label", "Key", tag("input", type="password", name="key", required=True, autocomplete="current-password")),
        tag("input", type="hidden", name="next", value=next_address),
        tag("button", "Sign in", type="submit", class_="button primary"),
        method="post",
        action="/sign-in",
        class_="card sign-in",
    )
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "X-Frame-Options": "DENY"}
    return HTMLResponse(plain_page("Sign in", form), status_code=status, headers=headers)


def plain_page(title: str, content: Markup) -> str:
    """Write a page without scripts, in the dashboard's look."""
    head = joined(
        tag("title", f"{title} · RLT"),
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f"<style>{style()}</style>"),
    )
    body = tag("body", tag("main", content, class_="page"))
    return f"<!doctype html>{tag('html', tag('head', head), body, lang='en')}"
